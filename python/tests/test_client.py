"""The account's growth instruments; with the vendor's class, too, where it is installed."""

import inspect

import pytest

from conftest import KEY


@pytest.fixture(params=["ours", "vendors"])
def client_class(request):
    if request.param == "ours":
        from mbe_bridge import Client
    else:
        Client = pytest.importorskip("atomscale").Client
    return Client


def test_list_create_delete(client_class, platform):
    client = client_class(KEY, platform.url)
    before = client.list_growth_instruments()
    new = client.create_growth_instrument(
        label="Main MBE", name="Veeco GEN10", instrument_type="mbe", serial_id="SN-12345"
    )
    assert type(new) is int
    other = client.create_growth_instrument("Old CVD", "self-made", "cvd")
    listed = client.list_growth_instruments()
    assert type(listed) is list and len(listed) == len(before) + 2
    entry = next(entry for entry in listed if entry["synth_source_id"] == new)
    assert {"synth_source_id", "source_name", "synth_source_type"} <= set(entry)
    assert entry["synth_source_type"] == "mbe"
    assert client.delete_growth_instrument(synth_source_id=new) is None
    assert client.delete_growth_instrument(other) is None
    assert client.list_growth_instruments() == before


def test_key_and_endpoint_of_the_environment(client_class, platform, monkeypatch):
    monkeypatch.setenv("AS_API_ENDPOINT", platform.url)
    monkeypatch.setenv("ATOMSCALE_API_KEY", KEY)
    monkeypatch.delenv("AS_API_KEY", raising=False)
    assert client_class().list_growth_instruments() == []
    monkeypatch.setenv("AS_API_KEY", "goes-first")
    assert client_class().api_key == "goes-first"
    assert client_class(api_key="given", mute_bars=True).api_key == "given"
    monkeypatch.delenv("AS_API_KEY")
    monkeypatch.delenv("ATOMSCALE_API_KEY")
    with pytest.raises(ValueError, match="API key"):
        client_class()


def test_a_refusal(client_class, platform):
    client = client_class("another-key", platform.url)
    with pytest.raises(Exception, match="HTTP Error 401") as raised:
        client.list_growth_instruments()
    assert type(raised.value).__name__ == "ClientError"
    assert raised.value.status_code == 401
    assert raised.value.response_text


def test_signatures_are_the_vendors():
    from mbe_bridge import Client
    from mbe_bridge.streaming import TimeseriesStreamer

    atomscale = pytest.importorskip("atomscale")
    streaming = pytest.importorskip("atomscale.streaming")

    def parameters(function):
        found = [(p.name, p.default, p.kind) for p in inspect.signature(function).parameters.values()]
        return [parameter for parameter in found if parameter[0] != "self"]

    for name in ("__init__", "list_growth_instruments", "create_growth_instrument", "delete_growth_instrument"):
        assert parameters(getattr(Client, name)) == parameters(getattr(atomscale.Client, name))
    vendors = streaming.TimeseriesStreamer
    for ours, theirs in [(TimeseriesStreamer, vendors)] + [
        (getattr(TimeseriesStreamer, name), method)
        for name, method in vars(vendors).items()
        if not name.startswith("_") and callable(method)
    ]:
        given = [p for p in parameters(ours) if p[2] is not inspect.Parameter.KEYWORD_ONLY]
        assert given == parameters(theirs), ours


# From here on ours alone.


def test_what_no_client_can_be_made_of():
    from mbe_bridge import Client

    with pytest.raises(ValueError, match="key"):
        Client(" ")
    with pytest.raises(ValueError, match="no address"):
        Client("k", "no address")


def test_nobody_listens_and_then_somebody_does(platform):
    from mbe_bridge import Client, ClientError

    client = Client(KEY, platform.url)
    platform.fault("status:503 next 2")
    assert client.list_growth_instruments() == []
    platform.stop()
    with pytest.raises(ClientError, match="can't be reached") as raised:
        client.create_growth_instrument("a", "b", "mbe")
    assert raised.value.status_code is None and raised.value.response_text is None


def test_deleting_what_is_not_there(platform):
    from mbe_bridge import Client, ClientError

    with pytest.raises(ClientError) as raised:
        Client(KEY, platform.url).delete_growth_instrument(4711)
    assert raised.value.status_code == 404

"""The stubs: what a program may write passes `mypy --strict`, what it may not does not, and they say what the module has."""

import inspect
import subprocess
import sys
import textwrap

import pytest

import stub_docs

pytest.importorskip("mypy")

RIGHT = """
from array import array
from pathlib import Path

import numpy
import pandas
from mbe_bridge import Client, ClientError
from mbe_bridge.streaming import TimeseriesStreamer

client = Client(mute_bars=True)
instrument: int = client.create_growth_instrument("Main MBE", "Veeco GEN10", "mbe", serial_id=None)
names: list[str] = [entry["source_name"] for entry in client.list_growth_instruments()]
client.delete_growth_instrument(synth_source_id=instrument)

with TimeseriesStreamer(api_key="k", points_per_chunk=100, data_dir=Path("data"), durable=False) as streamer:
    data_id: str = streamer.initialize(stream_name="a", synth_source_id=instrument, tags=["b"])
    streamer.push(data_id, 0, "a", [1.0], [None])
    streamer.push(data_id, chunk_index=0, channel_name="a", timestamps=(1, 2), values=range(2), units="C")
    streamer.push(data_id, 0, "a", numpy.arange(3.0), pandas.Series([1, 2, 3]))
    streamer.push(data_id, 0, "a", array("d", [1.0]), array("d", [1.0]))
    times = [1.0]
    channels = {
        "a": {"timestamps": times, "values": [1.0], "units": "C"},
        "b": {"timestamps": times, "values": times, "units": "K"},
    }
    streamer.push_multi(data_id, 0, channels)
    streamer.push_multi(data_id, 0, channels={"a": {"timestamps": times, "values": numpy.arange(3), "units": None}})
    streamer.run(data_id, channel_name="a", data_iter=((times, times) for _ in range(3)), units="C")
    streamer.finalize(data_id, progress=lambda status: print(status["queued_chunks"] + 1, status["state"].upper()))
    streamer.flush()
    streamer.flush(timeout=3, data_id=data_id)
    following: int = streamer.resume(data_id)["channels"]["a"]["next_chunk_index"]
    waiting: int = streamer.pending + streamer.status()[data_id]["queued_points"]
    clock = streamer.clock_status()
    offset: float = clock["offset_ms"] if clock is not None else 0.0
    left: int = streamer.close(timeout=1)

try:
    client.list_growth_instruments()
except ClientError as error:
    code: int | None = error.status_code
"""

WRONG = {
    "streamer.push(data_id, 0, 'a', [1.0], 1.0)": "arg-type",
    "streamer.push(data_id, '0', 'a', [1.0], [1.0])": "arg-type",
    "streamer.push(data_id, 0, 'a', [1.0], ['1.0'])": "list-item",
    "streamer.push(data_id, 0, 'a', [None], [1.0])": "list-item",
    "streamer.push(data_id, 0, 'a', [1.0], [1.0], unit='C')": "call-arg",
    "streamer.push_multi(data_id, 0, [1])": "arg-type",
    "streamer.pending = 3": "misc",
    "streamer.status()[data_id]['queued']": "typeddict-item",
    "TimeseriesStreamer()": "call-arg",
    "TimeseriesStreamer('k', None, 100, 0, 'data')": "call-arg",
}


def mypy(folder, text):
    path = folder / "sample.py"
    path.write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--cache-dir", folder.parent / "mypy", path],
        capture_output=True,
        text=True,
    )
    return done.stdout + done.stderr


def test_what_is_right_passes(tmp_path):
    pytest.importorskip("pandas")
    # pandas ships no types of its own for everything, and that is not what is tested.
    assert mypy(tmp_path, RIGHT.replace("import pandas\n", "import pandas  # type: ignore[import-untyped]\n")) == ""


def test_what_is_wrong_does_not_pass(tmp_path):
    head = "from mbe_bridge.streaming import TimeseriesStreamer\nstreamer = TimeseriesStreamer('k')\ndata_id = ''\n"
    lines = mypy(tmp_path, head + "\n".join(WRONG) + "\n").splitlines()
    for number, (line, code) in enumerate(WRONG.items(), start=4):
        found = [said for said in lines if f"sample.py:{number}: error" in said]
        assert found and f"[{code}]" in found[0], (line, found)


def test_the_stubs_are_of_this_module():
    done = subprocess.run(
        [sys.executable, "-m", "mypy.stubtest", "mbe_bridge"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_package_itself_passes():
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "-p", "mbe_bridge"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout


def test_everything_that_is_public_is_documented():
    import mbe_bridge
    from mbe_bridge import Client, ClientError
    from mbe_bridge.streaming import TimeseriesStreamer

    assert mbe_bridge.__doc__ and mbe_bridge.streaming.__doc__
    for class_ in (TimeseriesStreamer, Client, ClientError):
        assert inspect.getdoc(class_)
        for name, member in vars(class_).items():
            if not name.startswith("_"):
                doc = inspect.getdoc(member)
                assert doc, name
                # What help() shows fits into a terminal, and names every argument.
                assert max(map(len, doc.splitlines())) <= 120
                if callable(member):
                    for argument in list(inspect.signature(member).parameters)[1:]:
                        if class_ is not ClientError and "Args:" in doc:
                            assert f"{argument}:" in doc, (name, argument)
    text = textwrap.dedent(TimeseriesStreamer.__doc__)
    for argument in inspect.signature(TimeseriesStreamer).parameters:
        assert f"{argument}:" in text


def test_the_stubs_have_the_doc_strings_of_the_module():
    assert stub_docs.with_docs(stub_docs.STUB.read_text()) == stub_docs.STUB.read_text(), "run tests/stub_docs.py"

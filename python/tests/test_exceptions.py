"""What is wrong with a call is said by the vendor's exceptions, with the words that a program may look for."""

import pytest

from conftest import KEY

T = [1_795_357_081.0, 1_795_357_082.0]

# What is called, the exception, and words that its text has, of the vendor's class and of ours alike.
BOTH = {
    "push: lengths": (lambda s, d: s.push(d, 0, "c", T, [1.0]), RuntimeError, ["timestamps and values", "same length"]),
    "push: text": (lambda s, d: s.push(d, 0, "c", T, ["a", 1.0]), TypeError, ["must be real number, not str"]),
    "push: a string": (lambda s, d: s.push(d, 0, "c", T, "ab"), TypeError, ["str"]),
    "push: a number": (lambda s, d: s.push(d, 0, "c", T, 1.0), TypeError, ["float"]),
    "push: a set": (lambda s, d: s.push(d, 0, "c", T, {1.0, 2.0}), TypeError, ["set"]),
    "push: a dict": (lambda s, d: s.push(d, 0, "c", T, {1.0: 1, 2.0: 2}), TypeError, ["dict"]),
    "push: negative index": (lambda s, d: s.push(d, -1, "c", T, T), OverflowError, ["negative"]),
    "push: index no integer": (lambda s, d: s.push(d, 1.0, "c", T, T), TypeError, ["float"]),
    "push: name no text": (lambda s, d: s.push(d, 0, 5, T, T), TypeError, ["int"]),
    "push: no values": (lambda s, d: s.push(d, 0, "c", T), TypeError, ["push", "missing", "'values'"]),
    "push: unknown argument": (lambda s, d: s.push(d, 0, "c", T, T, unit="C"), TypeError, ["unexpected", "'unit'"]),
    "multi: lengths": (
        lambda s, d: s.push_multi(d, 0, {"a": {"timestamps": T, "values": [1.0]}}),
        RuntimeError,
        ["channel 'a'", "timestamps and values", "same length"],
    ),
    "multi: no timestamps": (
        lambda s, d: s.push_multi(d, 0, {"a": {"values": T}}),
        RuntimeError,
        ["channel 'a'", "missing 'timestamps' key"],
    ),
    "multi: no values": (
        lambda s, d: s.push_multi(d, 0, {"a": {"timestamps": T}}),
        RuntimeError,
        ["channel 'a'", "missing 'values' key"],
    ),
    "multi: text": (
        lambda s, d: s.push_multi(d, 0, {"a": {"timestamps": T, "values": ["a", "b"]}}),
        RuntimeError,
        ["channel 'a'", "'values' must be", "must be real number, not str"],
    ),
    "multi: unit": (
        lambda s, d: s.push_multi(d, 0, {"a": {"timestamps": T, "values": T, "units": 3}}),
        RuntimeError,
        ["channel 'a'", "'units' must be a string"],
    ),
    "multi: a list for a channel": (
        lambda s, d: s.push_multi(d, 0, {"a": [T, T]}),
        RuntimeError,
        ["channel 'a'", "expected a dict with 'timestamps', 'values'", "'units'"],
    ),
    "multi: name": (lambda s, d: s.push_multi(d, 0, {3: {}}), RuntimeError, ["channel name must be a string"]),
    "multi: a list": (lambda s, d: s.push_multi(d, 0, [1]), TypeError, ["list", "dict"]),
    "run: lengths": (
        lambda s, d: s.run(d, "c", [(T, T), (T, [1.0])]),
        RuntimeError,
        ["chunk 1", "timestamps and values", "same length"],
    ),
    "run: no tuple": (lambda s, d: s.run(d, "c", [5]), RuntimeError, ["chunk 0", "expected (timestamps, values) tuple"]),
    "run: a list of two": (
        lambda s, d: s.run(d, "c", [[T, T]]),
        RuntimeError,
        ["chunk 0", "expected (timestamps, values) tuple"],
    ),
    "run: a tuple of one": (
        lambda s, d: s.run(d, "c", [(T,)]),
        RuntimeError,
        ["chunk 0", "expected (timestamps, values) tuple", "length 1"],
    ),
    "run: no iterator": (lambda s, d: s.run(d, "c", 3), TypeError, ["'int' object is not iterable"]),
    "run: its own": (lambda s, d: s.run(d, "c", (1 / 0 for _ in range(1))), ZeroDivisionError, ["division by zero"]),
    "initialize: name": (lambda s, d: s.initialize(3), TypeError, ["int", "str"]),
    "initialize: a string of tags": (lambda s, d: s.initialize(tags="ab"), TypeError, ["str"]),
    "initialize: instrument": (lambda s, d: s.initialize(synth_source_id="a"), TypeError, ["str", "integer"]),
    "initialize: unknown instrument": (lambda s, d: s.initialize(synth_source_id=77), RuntimeError, ["HTTP 4", "77"]),
    "initialize: unknown sample": (
        lambda s, d: s.initialize(physical_sample="00000000-0000-0000-0000-000000000001"),
        RuntimeError,
        ["00000000-0000-0000-0000-000000000001"],
    ),
    "finalize: unknown": (lambda s, d: s.finalize("nothing"), RuntimeError, []),
}

MADE = {
    "no key": ((), {}, TypeError, ["missing", "'api_key'"]),
    "key no text": ((1,), {}, TypeError, ["int", "str"]),
    "negative points": (("k",), {"points_per_chunk": -1}, OverflowError, ["negative"]),
    "verbosity": (("k",), {"verbosity": 300}, OverflowError, []),
}


@pytest.fixture(params=["ours", "vendors"])
def streamer_class(request, tmp_path, host_clock, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    if request.param == "ours":
        from mbe_bridge.streaming import TimeseriesStreamer
    else:
        TimeseriesStreamer = pytest.importorskip("atomscale.streaming").TimeseriesStreamer
    return TimeseriesStreamer


@pytest.mark.parametrize("what", BOTH)
def test_both_raise_the_same(what, streamer_class, platform):
    call, exception, words = BOTH[what]
    streamer = streamer_class(KEY, platform.url)
    data_id = streamer.initialize("exceptions")
    with pytest.raises(exception) as raised:
        call(streamer, data_id)
    assert raised.type is exception
    for word in words:
        assert word in str(raised.value)


@pytest.mark.parametrize("what", MADE)
def test_both_are_made_alike(what, streamer_class):
    arguments, options, exception, words = MADE[what]
    with pytest.raises(exception) as raised:
        streamer_class(*arguments, **options)
    for word in words:
        assert word in str(raised.value)


def test_both_take_what_is_empty(streamer_class, platform):
    streamer = streamer_class(KEY, platform.url)
    data_id = streamer.initialize()
    assert streamer.push(data_id, 0, "c", [], []) is None
    assert streamer.push_multi(data_id, 0, {}) is None
    assert streamer.push_multi(data_id, 0, {"a": {"timestamps": [], "values": []}}) is None
    assert streamer.run(data_id, "c", []) is None
    assert streamer.finalize(data_id) is None


def test_both_say_which_key_is_refused(streamer_class, platform):
    streamer = streamer_class("another-key", platform.url)
    with pytest.raises(RuntimeError, match="(?i)key"):
        streamer.initialize("not mine")


def test_both_say_that_nobody_listens(streamer_class, platform):
    streamer = streamer_class(KEY, platform.url)
    platform.stop()
    with pytest.raises(RuntimeError):
        streamer.initialize("nobody there")


# From here on ours alone.


def test_more_points_than_a_chunk_has(make):
    streamer = make(points_per_chunk=3)
    data_id = streamer.initialize()
    with pytest.raises(RuntimeError, match="4 points.*at most 3"):
        streamer.push(data_id, 0, "c", range(4), range(4))


@pytest.mark.parametrize("options", [{"points_per_chunk": 0}, {"endpoint": "no address"}, {"api_key": " "}])
def test_what_no_streamer_can_be_made_of(options, make):
    with pytest.raises(RuntimeError):
        make(**options)


def test_a_folder_that_can_not_be_written(make, tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(RuntimeError):
        make(data_dir=tmp_path / "file" / "data")


def test_another_unit(streamer):
    data_id = streamer.initialize()
    streamer.push(data_id, 0, "c", T, T, "C")
    with pytest.raises(RuntimeError, match="`C`.*`K`"):
        streamer.push(data_id, 1, "c", T, T, "K")


def test_unknown_and_finalized_streams(streamer):
    with pytest.raises(RuntimeError, match="`nothing`.*initialize.*resume"):
        streamer.push("nothing", 0, "c", T, T)
    data_id = streamer.initialize()
    streamer.finalize(data_id)
    with pytest.raises(RuntimeError, match="finalized"):
        streamer.push(data_id, 0, "c", T, T)


def test_after_close(streamer):
    data_id = streamer.initialize()
    assert streamer.close() == 0
    assert streamer.close() == 0
    with pytest.raises(RuntimeError, match="closed"):
        streamer.push(data_id, 0, "c", T, T)


def test_a_timeout_that_is_none(streamer):
    for timeout in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="timeout"):
            streamer.flush(timeout)

"""What numbers can be held in. Nothing is made up: what is missing, masked or no number leaves no point."""

import array
import collections
import datetime
import decimal
import fractions

import pytest

from conftest import expected

T = [1_795_357_081.0 + i for i in range(4)]
NAN = float("nan")


def numpy():
    return pytest.importorskip("numpy")


def pandas():
    return pytest.importorskip("pandas")


# What is pushed as values, and the values that are to arrive at the four timestamps.
VALUES = {
    "list": (lambda: [1.0, 2.0, 3.0, 4.0], [1, 2, 3, 4]),
    "tuple": (lambda: (1.0, 2.0, 3.0, 4.0), [1, 2, 3, 4]),
    "mixed": (lambda: [1, True, decimal.Decimal("1.5"), fractions.Fraction(1, 4)], [1, 1, 1.5, 0.25]),
    "missing": (lambda: [1.0, None, NAN, float("inf")], [1, None, None, None]),
    "none in a tuple": (lambda: (None, 2.0, 3.0, 4.0), [None, 2, 3, 4]),
    "range": (lambda: range(4), [0, 1, 2, 3]),
    "deque": (lambda: collections.deque([1, 2, 3, 4]), [1, 2, 3, 4]),
    "generator": (lambda: (float(i) for i in range(4)), [0, 1, 2, 3]),
    "array of doubles": (lambda: array.array("d", [1, 2, 3, 4]), [1, 2, 3, 4]),
    "array of floats": (lambda: array.array("f", [1, 2, 3, 4]), [1, 2, 3, 4]),
    "array of integers": (lambda: array.array("h", [1, 2, 3, 4]), [1, 2, 3, 4]),
    "memoryview": (lambda: memoryview(array.array("d", [1, 2, 3, 4])), [1, 2, 3, 4]),
    "memoryview, every second": (lambda: memoryview(array.array("d", range(8)))[::2], [0, 2, 4, 6]),
    "ndarray": (lambda: numpy().array([1.0, 2.0, NAN, 4.0]), [1, 2, None, 4]),
    "strided": (lambda: numpy().arange(8.0)[::2], [0, 2, 4, 6]),
    "backwards": (lambda: numpy().arange(4.0)[::-1], [3, 2, 1, 0]),
    "column": (lambda: numpy().arange(8.0).reshape(4, 2)[:, 1], [1, 3, 5, 7]),
    "column of a matrix": (lambda: numpy().arange(4.0).reshape(4, 1), [0, 1, 2, 3]),
    "other byte order": (lambda: numpy().arange(4, dtype=">f8"), [0, 1, 2, 3]),
    "objects": (lambda: numpy().array([1, None, 2.5, NAN], dtype=object), [1, None, 2.5, None]),
    "numpy numbers": (lambda: list(numpy().array([1.0, 2.0, 3.0, 4.0])), [1, 2, 3, 4]),
    "numpy integers": (lambda: list(numpy().arange(4, dtype="i2")), [0, 1, 2, 3]),
    "masked": (lambda: numpy().ma.masked_array([1.0, 2.0, 3.0, 4.0], mask=[0, 1, 0, 0]), [1, None, 3, 4]),
    "masked integers": (lambda: numpy().ma.masked_array([1, 2, 3, 4], mask=[0, 0, 1, 0]), [1, 2, None, 4]),
    "masked objects": (
        lambda: numpy().ma.masked_array([1, 2.0, 3, 4], mask=[0, 0, 1, 0], dtype=object),
        [1, 2, None, 4],
    ),
    "Series": (lambda: pandas().Series([1.0, None, 3.0, 4.0]), [1, None, 3, 4]),
    "Series of another index": (lambda: pandas().Series([1.0, 2.0, 3.0, 4.0], index=[7, 5, 3, 1]), [1, 2, 3, 4]),
    "Series with odd labels": (
        lambda: pandas().Series([1.0, 2.0, 3.0, 4.0], index=["filled", "mask", "dtype", "typecode"]),
        [1, 2, 3, 4],
    ),
    "Series of nullable integers": (lambda: pandas().Series([1, None, 3, 4], dtype="Int64"), [1, None, 3, 4]),
    "Series of nullable floats": (lambda: pandas().Series([1.5, None, 3, 4], dtype="Float64"), [1.5, None, 3, 4]),
    "Index": (lambda: pandas().Index([1, 2, 3, 4]), [1, 2, 3, 4]),
    "column of a frame": (lambda: pandas().DataFrame({"a": [1, 2, 3, 4], "b": 0.0})["a"], [1, 2, 3, 4]),
}
VALUES.update(
    {
        dtype: (lambda dtype=dtype: numpy().array([0, 1, 2, 3], dtype=dtype), [0, 1, 2, 3])
        for dtype in ("f2", "f4", "f8", "g", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8")
    }
)

REFUSED = {
    "text": (lambda: ["1.0", "2.0", "3.0", "4.0"], r"values\[0\] must be real number, not str"),
    "later text": (lambda: [1.0, 2.0, "3.0", 4.0], r"values\[2\] must be real number, not str"),
    "bytes": (lambda: b"abcd", "values must be a series of numbers .*, not bytes"),
    "lists": (lambda: [[1.0]] * 4, r"values\[0\] must be real number, not list"),
    "complex": (lambda: [1j] * 4, r"values\[0\] must be real number, not complex"),
    "a class": (lambda: list, "values must be a series of numbers"),
    "instants": (lambda: [datetime.datetime.now()] * 4, r"values\[0\] is a datetime: give Unix seconds"),
    "spans": (lambda: [datetime.timedelta(1)] * 4, r"values\[0\] must be real number, not timedelta"),
    "ndarray of text": (lambda: numpy().array(["1"] * 4), "values must be real numbers, not of dtype <U1"),
    "ndarray of complex": (lambda: numpy().array([1j] * 4), "complex128"),
    "ndarray of instants": (lambda: numpy().array(["2026-01-01"] * 4, dtype="M8[ns]"), "give Unix seconds"),
    "numpy instants": (lambda: list(numpy().array(["2026-01-01"] * 4, dtype="M8[ns]")), "give Unix seconds"),
    "matrix": (lambda: numpy().zeros((2, 2)), r"of one dimension, not an array of shape \(2, 2\)"),
    "row": (lambda: numpy().zeros((1, 4)), r"shape \(1, 4\)"),
    "one number": (lambda: numpy().float64(1), r"shape \(\)"),
    "Series of text": (lambda: pandas().Series(["1"] * 4), r"values\[0\] must be real number, not str"),
    "Series of instants": (lambda: pandas().Series(pandas().date_range("2026", periods=4)), "give Unix seconds"),
    "Series of instants in a zone": (
        lambda: pandas().Series(pandas().date_range("2026", periods=4, tz="Europe/Berlin")),
        "give Unix seconds",
    ),
    "frame": (lambda: pandas().DataFrame({"a": [1, 2], "b": [3, 4]}), r"shape \(2, 2\)"),
}


@pytest.mark.parametrize("how", VALUES)
def test_values_arrive(how, streamer, platform):
    series, values = VALUES[how]
    data_id = streamer.initialize(how)
    streamer.push(data_id, 0, "pushed", T, series(), "V")
    streamer.push_multi(data_id, 0, {"multi": {"timestamps": tuple(T), "values": series()}})
    streamer.run(data_id, "ran", [(T, series())])
    streamer.finalize(data_id)
    points = expected(T, values)
    assert platform.channels(data_id) == {"pushed": ("V", points), "multi": (None, points), "ran": (None, points)}


@pytest.mark.parametrize("how", REFUSED)
def test_what_is_no_series_of_numbers_is_refused(how, streamer):
    series, words = REFUSED[how]
    data_id = streamer.initialize(how)
    with pytest.raises(TypeError, match=words):
        streamer.push(data_id, 0, "c", T, series())
    with pytest.raises(RuntimeError, match="channel 'c': 'values' must be a series of numbers: .*" + words):
        streamer.push_multi(data_id, 0, {"c": {"timestamps": T, "values": series()}})
    with pytest.raises(RuntimeError, match="chunk 0: .*" + words):
        streamer.run(data_id, "c", [(T, series())])
    assert streamer.status()[data_id]["queued_points"] == 0


@pytest.mark.parametrize("stamp", [None, NAN, float("inf")])
def test_a_point_has_its_time(stamp, streamer):
    data_id = streamer.initialize()
    with pytest.raises((TypeError, RuntimeError), match=r"(timestamps\[|timestamp )2"):
        streamer.push(data_id, 0, "c", [*T[:2], stamp, T[3]], [1, 2, 3, 4])


def test_instants_as_the_message_says(streamer, platform):
    pd = pandas()
    instants = pd.Series(pd.date_range("2026-07-01 12:00:00.25", periods=3, freq="s", tz="Europe/Berlin"))
    data_id = streamer.initialize()
    streamer.push(data_id, 0, "c", (instants - pd.Timestamp(0, tz="UTC")) / pd.Timedelta("1s"), [1, 2, 3])
    moment = datetime.datetime(2026, 7, 1, 10, tzinfo=datetime.timezone.utc)
    streamer.push(data_id, 0, "d", [moment.timestamp()], [1])
    streamer.finalize(data_id)
    start = int(moment.timestamp() * 1000)
    channels = platform.channels(data_id)
    assert channels["c"][1] == [(start + 250, 1.0), (start + 1250, 2.0), (start + 2250, 3.0)]
    assert channels["d"][1] == [(start, 1.0)]


def test_a_chunk_of_missing_points_is_no_chunk(streamer, platform):
    data_id = streamer.initialize()
    streamer.push(data_id, 0, "c", T, [None] * 4)
    streamer.push_multi(data_id, 1, {"a": {"timestamps": T, "values": [NAN] * 4}, "b": {"timestamps": [], "values": []}})
    streamer.finalize(data_id)
    assert platform.channels(data_id) == {}


def test_mappings_are_taken_for_dicts(streamer, platform):
    data_id = streamer.initialize()
    channel = collections.UserDict(timestamps=T, values=[1, 2, 3, 4], units=None)
    streamer.push_multi(data_id, 0, collections.UserDict(c=channel))
    streamer.finalize(data_id)
    assert platform.channels(data_id) == {"c": (None, expected(T, [1.0, 2.0, 3.0, 4.0]))}


def test_a_list_that_changes_while_it_is_read(streamer):
    values = [0.0] * 4

    class Vandal:
        def __float__(self):
            values.clear()
            return 1.0

    values[1] = Vandal()
    data_id = streamer.initialize()
    streamer.push(data_id, 0, "c", T, values)
    assert values == []
    streamer.finalize(data_id)
    assert streamer.status()[data_id]["uploaded_points"] == 4


def test_many_channels_on_one_axis(make, platform):
    streamer = make(points_per_chunk=50)
    data_id = streamer.initialize()
    axis = [T[0] + i for i in range(50)]
    other = [stamp + 0.5 for stamp in axis]
    for chunk in range(4):
        channels = {
            f"channel {n}": {"timestamps": axis if n % 4 else list(other), "values": [n + chunk] * 50}
            for n in range(32)
        }
        streamer.push_multi(data_id, chunk, channels)
    streamer.finalize(data_id)
    stored = platform.channels(data_id)
    assert len(stored) == 32
    for n in range(32):
        points = [(round(t * 1000), n + chunk) for chunk in range(4) for t in (axis if n % 4 else other)]
        assert stored[f"channel {n}"] == (None, points)

"""Every example of the vendor's page as it is written there; only the import and the endpoint differ.

Run with the vendor's class, too, where it is installed.
"""

import time

import pytest

from conftest import KEY, expected, wait_for


def ours(platform, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    from mbe_bridge.streaming import TimeseriesStreamer

    return TimeseriesStreamer


def vendors(platform, tmp_path, monkeypatch):
    return pytest.importorskip("atomscale.streaming").TimeseriesStreamer


@pytest.fixture(params=[ours, vendors])
def TimeseriesStreamer(request, platform, tmp_path, monkeypatch, host_clock):
    streamer_class = request.param(platform, tmp_path, monkeypatch)

    def at_the_local_platform(**arguments):
        return streamer_class(endpoint=platform.url, **arguments)

    return at_the_local_platform


def landed(platform, data_id, channels):
    """The vendor's class sends in the background and does not say when it has."""

    def look():
        return platform.channels(data_id) == channels

    wait_for(f"{channels.keys()} on the platform", look)


def test_the_page(TimeseriesStreamer, platform):
    streamer = TimeseriesStreamer(
        api_key=KEY,
        points_per_chunk=100,
    )
    client = __import__("mbe_bridge").Client(api_key=KEY, endpoint=platform.url)
    instrument = client.create_growth_instrument("Main MBE", "Veeco GEN10", "mbe")

    data_id = streamer.initialize(
        stream_name="MBE growth - temperature log",
        physical_sample="GaN-001",
        synth_source_id=instrument,
        project_id="project-uuid",
    )

    timestamps = [time.time() + i * 0.1 for i in range(100)]
    values = [25.0 + i * 0.01 for i in range(100)]

    streamer.push(
        data_id,
        chunk_index=0,
        channel_name="temperature",
        timestamps=timestamps,
        values=values,
        units="C",
    )
    landed(platform, data_id, {"temperature": ("C", expected(timestamps, values))})

    temp_values = [30.0 + i * 0.01 for i in range(100)]
    pressure_values = [1e-9 + i * 1e-12 for i in range(100)]
    streamer.push_multi(data_id, chunk_index=0, channels={
        "temperature": {
            "timestamps": timestamps,
            "values": temp_values,
            "units": "C",
        },
        "pressure": {
            "timestamps": timestamps,
            "values": pressure_values,
            "units": "mbar",
        },
    })
    both = {
        "temperature": ("C", expected(timestamps, temp_values)),
        "pressure": ("mbar", expected(timestamps, pressure_values)),
    }
    landed(platform, data_id, both)

    streamer.finalize(data_id)
    assert platform.finalized(data_id)
    entry = platform.entry(data_id)
    assert "MBE growth - temperature log" in str(entry)
    assert "GaN-001" in str(entry)


def test_generator_mode(TimeseriesStreamer, platform):
    streamer = TimeseriesStreamer(api_key=KEY)
    all_timestamps = [1_795_357_081.0 + i * 0.1 for i in range(1234)]
    all_values = [600.0 + i * 0.01 for i in range(1234)]

    def data_chunks(timestamps, values, chunk_size=100):
        for start in range(0, len(timestamps), chunk_size):
            yield (
                timestamps[start : start + chunk_size],
                values[start : start + chunk_size],
            )

    data_id = streamer.initialize(stream_name="Pyrometer log")
    streamer.run(
        data_id,
        channel_name="temperature",
        data_iter=data_chunks(all_timestamps, all_values),
        units="C",
    )
    assert platform.channels(data_id) == {"temperature": ("C", expected(all_timestamps, all_values))}
    streamer.finalize(data_id)
    assert platform.finalized(data_id)


def test_positional_arguments(TimeseriesStreamer, platform):
    streamer = TimeseriesStreamer(api_key=KEY)
    data_id = streamer.initialize("by place", None, "GaN-002", None, ["night shift"])
    streamer.push(data_id, 0, "power", [1_795_357_081.0], [3.5], "W")
    streamer.push_multi(data_id, 1, {"power": {"timestamps": [1_795_357_082.0], "values": [3.6], "units": "W"}})
    landed(platform, data_id, {"power": ("W", expected([1_795_357_081.0, 1_795_357_082.0], [3.5, 3.6]))})
    streamer.run(data_id, "flow", [([1_795_357_081.0], [1.0])], "sccm")
    streamer.finalize(data_id)
    assert platform.channels(data_id)["flow"] == ("sccm", [(1_795_357_081_000, 1.0)])
    assert "night shift" in str(platform.entry(data_id))
    assert streamer.clock_status() is None


def test_verbosity_is_taken(TimeseriesStreamer):
    for verbosity in (None, 0, 4):
        TimeseriesStreamer(api_key=KEY, verbosity=verbosity)


def test_generator_mode_goes_on_and_cuts(make, platform):
    streamer = make(points_per_chunk=4)
    stamps = [1_795_357_081.0 + i for i in range(10)]
    data_id = streamer.initialize()
    streamer.push(data_id, 0, "c", stamps[:3], [0.0, 1.0, 2.0])
    streamer.run(data_id, "c", [(stamps[3:], [float(i) for i in range(3, 10)])])
    streamer.finalize(data_id)
    assert platform.channels(data_id) == {"c": (None, expected(stamps, [float(i) for i in range(10)]))}

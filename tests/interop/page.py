"""The examples of the vendor's page about its TimeseriesStreamer, as they are written there but for the endpoint, in one go
against a local platform that takes the page's key and has its growth instrument 42.

    page.py --url URL

Exit code 0 when the platform then holds what the page says, 1 with one line on stderr for each difference.
"""

import argparse
import os
import sys

from atomscale import Client
from vendor import Different, Session, expect, ms, perform

KEY = "YOUR_API_KEY"


def instrument_42(client):
    """Instruments are numbered in order; those before number 42 are in the way."""
    if any(one["synth_source_id"] == 42 for one in client.list_growth_instruments()):
        return
    while (number := client.create_growth_instrument("Main MBE", "Veeco GEN10", "mbe")) < 42:
        client.delete_growth_instrument(number)
    expect("number of the growth instrument", number, 42)


def page(session):
    URL = session.client.endpoint.rstrip("/")
    instrument_42(session.client)

    from atomscale.streaming import TimeseriesStreamer

    streamer = TimeseriesStreamer(
        api_key="YOUR_API_KEY",
        endpoint=URL,
        points_per_chunk=100,
    )

    data_id = streamer.initialize(
        stream_name="MBE growth - temperature log",
        physical_sample="GaN-001",
        synth_source_id=42,       # from client.list_growth_instruments()
        project_id="project-uuid",
    )

    import time

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
    # The page does not wait, and so one of the two that follow on each other could overtake the other.
    session.wait_for(data_id, 100)

    temp_values, pressure_values = [value + 1 for value in values], [1e-9 * value for value in values]
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
    session.wait_for(data_id, 200)
    streamer.finalize(data_id)
    growth = data_id

    all_timestamps = [timestamps[0] + i * 0.1 for i in range(1234)]
    all_values = [600.0 + i / 8 for i in range(1234)]

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
    streamer.finalize(data_id)

    expect_series(session, growth, {"temperature": (timestamps, temp_values, "C"), "pressure": (timestamps, pressure_values, "mbar")})
    expect_series(session, data_id, {"temperature": (all_timestamps, all_values, "C")})
    entries = session.client.search(data_ids=growth)
    expect("entries", len(entries), 1)
    for column, wanted in {
        "File Name": "MBE growth - temperature log",
        "Status": "success",
        "Instrument Source": "Main MBE",
        "Physical Sample Name": "GaN-001",
        "Project ID": "project-uuid",
    }.items():
        expect(column, entries.iloc[0][column], wanted)
    return 200 + len(all_values)


def expect_series(session, data_id, channels):
    """Stored is what was pushed, to the bit, with its stamps in whole milliseconds as the platform gives them back."""
    found = session.read_raw(data_id)["properties"]
    expect("channels", sorted(found), sorted(channels))
    for name, (timestamps, values, units) in channels.items():
        points = [
            (at, value) for at, value in zip(found[name]["unix_timestamp_ms"], found[name]["values"]) if at is not None
        ]
        expect(f"units of {name}", found[name]["units"], units)
        if points != [(ms(at), value) for at, value in zip(timestamps, values)]:
            raise Different(f"{name}: the points differ")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", required=True, help="base URL of the platform")
    arguments = parser.parse_args()
    if os.environ.get("ATOMSCALE_SKIP_CLOCK_SYNC", "") in ("", "0"):
        parser.error("set ATOMSCALE_SKIP_CLOCK_SYNC=1: with the clock's correction no stamp is known to the millisecond")
    return perform({"page": page}, Session(arguments.url.rstrip("/"), KEY))


if __name__ == "__main__":
    sys.exit(main())

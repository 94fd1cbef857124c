"""Talks to a local platform with the vendor's own Python client, and holds what comes back against what was sent.

    vendor.py --url URL --key KEY [PHASE ...]                              stream with the vendor's streamer, read back
    vendor.py --url URL --key KEY --read-back DATA_ID --expect FILE.json   read back what another program has uploaded

The file of expectations holds one object:

    {"channels": {"pressure": {"units": "mbar", "points": [[1763856000.25, 1e-9], ...]}},
     "status": "success", "name": "...", "physical_sample": "...", "tags": ["..."]}

Points are Unix seconds and value, in the order of the stream; a value of null is a missing reading. `channels` is
required and complete: a channel too many is a failure. The other fields are compared where they are given.

Exit code 0 when everything is as expected, 1 with one line on stderr for each difference.
"""

import argparse
import json
import math
import os
import sys
import time
import warnings

from atomscale import Client
from atomscale.streaming import TimeseriesStreamer
from atomscale.timeseries.tool_state import ToolStateProvider

POINTS_PER_CHUNK = 10
START = 1_763_856_000.125
DEADLINE_SECONDS = 30
# Differences of one kind that are listed one by one; the rest are counted.
LISTED = 5


class Different(Exception):
    """What came back is not what was expected; the arguments say where, one line each."""


class Sent:
    """What has been given to the streamer: by channel the unit, and by chunk the points and the allowed clock offset."""

    def __init__(self):
        self.units = {}
        self.chunks = {}

    def add(self, channel, index, stamps, values, units, offset_ms):
        self.units[channel] = units
        self.chunks.setdefault(channel, {})[index] = (stamps, values, offset_ms)

    def points(self):
        return sum(len(stamps) for chunks in self.chunks.values() for stamps, _, _ in chunks.values())

    def expected(self):
        """By channel the unit and a list of (earliest ms, latest ms, value)."""
        channels = {}
        for channel, chunks in self.chunks.items():
            points = []
            for _, (stamps, values, (low, high)) in sorted(chunks.items()):
                points += [(ms(at + low / 1e3), ms(at + high / 1e3), value) for at, value in zip(stamps, values)]
            channels[channel] = (self.units[channel], points)
        return channels


def ms(unix_seconds):
    return math.floor(unix_seconds * 1e3 + 0.5)


def axis(start, count):
    return [START + (start + i) * 0.25 for i in range(count)]


class Session:
    """The vendor's streamer and client, pointed at the local platform."""

    def __init__(self, url, key):
        self.client = Client(api_key=key, endpoint=url + "/", mute_bars=True)
        self.streamer = TimeseriesStreamer(api_key=key, endpoint=url, points_per_chunk=POINTS_PER_CHUNK, verbosity=0)
        self.corrects = os.environ.get("ATOMSCALE_SKIP_CLOCK_SYNC", "") in ("", "0")

    def offset_ms(self):
        """The correction that the streamer applies now, in ms."""
        status = self.streamer.clock_status()
        if self.corrects and status is None:
            raise Different("the streamer has measured no clock, though GET /gateway/time is there")
        if not self.corrects and status is not None:
            raise Different(f"ATOMSCALE_SKIP_CLOCK_SYNC is set, and the streamer still corrects: {status}")
        return status["offset_ms"] if status else 0.0

    def corrected(self, send):
        """Sends, and returns the offsets between which the one that was applied lies."""
        before = self.offset_ms()
        send()
        after = self.offset_ms()
        # Half a millisecond on either side may be rounded away; without correction nothing may.
        slack = 1.0 if self.corrects else 0.0
        return min(before, after) - slack, max(before, after) + slack

    def read_raw(self, data_id):
        raw = ToolStateProvider().fetch_raw(self.client, data_id)
        if raw is None:
            raise Different(f"the platform has no stream {data_id}")
        return raw

    def wait_for(self, data_id, points):
        """The streamer's push returns before anything is sent, and tells nobody when it has landed."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while True:
            landed = sum(
                sum(stamp is not None for stamp in series["unix_timestamp_ms"])
                for series in self.read_raw(data_id)["properties"].values()
            )
            if landed >= points:
                return
            if time.monotonic() > deadline:
                raise Different(f"{landed} of {points} points have landed after {DEADLINE_SECONDS} s")
            time.sleep(0.02)

    def finish(self, data_id, sent):
        self.wait_for(data_id, sent.points())
        self.streamer.finalize(data_id)
        compare(self, data_id, sent.expected(), {"status": "success"})


def push(session):
    """One request for each channel and chunk, in any order, one chunk sent twice."""
    sent = Sent()
    data_id = session.streamer.initialize(stream_name="vendor push")
    for index, count in [(2, 4), (0, POINTS_PER_CHUNK), (1, POINTS_PER_CHUNK), (0, POINTS_PER_CHUNK)]:
        stamps = axis(index * POINTS_PER_CHUNK, count)
        values = [580.0 + index + i / 8 for i in range(count)]
        offset = session.corrected(
            lambda: session.streamer.push(data_id, index, "substrate temperature", stamps, values, units="degC")
        )
        sent.add("substrate temperature", index, stamps, values, "degC", offset)
        # Sent again it may overtake itself, and with the clock's correction the two differ.
        session.wait_for(data_id, sent.points())
    session.finish(data_id, sent)


def push_multi(session):
    """All channels in one request: different lengths, one without unit, one with a missing value, one empty."""
    sent = Sent()
    data_id = session.streamer.initialize(stream_name="vendor push_multi")
    for index in range(4):
        stamps = axis(index * POINTS_PER_CHUNK, POINTS_PER_CHUNK)
        channels = {
            "temperature": (stamps, [600.0 + i for i in range(POINTS_PER_CHUNK)], "degC"),
            "pressure µ": (stamps[::3], [1e-9 * (i + 1) for i in range(len(stamps[::3]))], None),
            "flux": (stamps[:2], [float("nan"), 0.1 + 0.2], "nA"),
        }
        request = {
            name: {"timestamps": at, "values": values} | ({"units": units} if units else {})
            for name, (at, values, units) in channels.items()
        }
        request["never read"] = {"timestamps": [], "values": []}
        offset = session.corrected(lambda: session.streamer.push_multi(data_id, index, request))
        for name, (at, values, units) in channels.items():
            sent.add(name, index, at, [None if math.isnan(value) else value for value in values], units, offset)
    session.finish(data_id, sent)


def run(session):
    """Generator mode: the streamer numbers the chunks and waits until they have landed."""
    sent = Sent()
    data_id = session.streamer.initialize(stream_name="vendor run")
    chunks = []
    for index in range(5):
        stamps = axis(index * POINTS_PER_CHUNK, POINTS_PER_CHUNK)
        chunks.append((stamps, [math.sin(at) for at in stamps]))
    offset = session.corrected(lambda: session.streamer.run(data_id, "intensity", iter(chunks), units="V"))
    for index, (stamps, values) in enumerate(chunks):
        sent.add("intensity", index, stamps, values, "V", offset)
    compare(session, data_id, sent.expected(), {"status": "stream_active"})
    session.finish(data_id, sent)


def links(session):
    """Growth instrument, physical sample, project and tags, created and found again."""
    unique = f"{os.getpid()}-{time.time_ns()}"
    number = session.client.create_growth_instrument("Main MBE", "Veeco GEN10", "mbe", serial_id=unique)
    listed = {one["synth_source_id"]: one for one in session.client.list_growth_instruments()}
    expect("growth instrument", listed.get(number, {}).get("source_name"), "Main MBE")
    sample, tags = f"GaN {unique}", [f"growth {unique}", f"night {unique}"]
    for round_ in range(2):
        data_id = session.streamer.initialize(
            stream_name=f"vendor links {round_}",
            synth_source_id=number,
            physical_sample=f" {sample.lower() if round_ else sample} ",
            project_id="0b7e6f0e-6a4f-4d6e-9a53-0d0f3f6f2c11",
            tags=[tags[0], tags[1].upper() if round_ else tags[1], tags[0]],
        )
        sent = Sent()
        offset = session.corrected(lambda: session.streamer.push(data_id, 0, "t", [START], [1.0]))
        sent.add("t", 0, [START], [1.0], None, offset)
        session.wait_for(data_id, 1)
        session.streamer.finalize(data_id)
        about = {"status": "success", "name": f"vendor links {round_}", "physical_sample": sample, "tags": tags}
        compare(session, data_id, sent.expected(), about)
    samples = session.client.list_physical_samples()
    of_sample = samples[samples["Physical Sample Name"] == sample]
    expect("samples of that name", len(of_sample), 1)
    found = session.client.get_physical_sample(of_sample.iloc[0]["Physical Sample ID"], include_sample_metrics=False)
    expect("streams of the sample", len(found.data_results), 2)
    session.client.delete_growth_instrument(number)
    expect("growth instrument after its end", number in [
        one["synth_source_id"] for one in session.client.list_growth_instruments()
    ], False)


def refusals(session):
    """The vendor's streamer learns what the platform refuses."""
    data_id = session.streamer.initialize(stream_name="vendor refusals")
    too_many = axis(0, POINTS_PER_CHUNK + 1)
    expect_refused("422", lambda: session.streamer.run(data_id, "t", iter([(too_many, too_many)])))
    expect_refused("422", lambda: session.streamer.run(data_id, "t", iter([([], [])])))
    expect_refused("422", lambda: session.streamer.initialize(synth_source_id=999_999))
    session.streamer.finalize(data_id)
    expect_refused("409", lambda: session.streamer.run(data_id, "t", iter([([START], [1.0])])))
    expect_refused("404", lambda: session.streamer.finalize("00000000-0000-4000-8000-000000000000"))
    compare(session, data_id, {}, {"status": "success"})


PHASES = {"push": push, "push-multi": push_multi, "run": run, "links": links, "refusals": refusals}


def expect(what, found, expected):
    if found != expected:
        raise Different(f"{what}: {found!r}, expected {expected!r}")


def expect_refused(status, call):
    try:
        call()
    except RuntimeError as refusal:
        if status not in str(refusal):
            raise Different(f"refused with `{refusal}`, expected status {status}") from None
        return
    raise Different(f"accepted, expected to be refused with {status}")


def compare(session, data_id, expected, about):
    """Reads a stream back in the three ways the vendor's client has, and raises Different with every difference."""
    raw = session.read_raw(data_id)
    wrong = differing_series(raw["properties"], expected)
    if not wrong:
        wrong += differing_frame(ToolStateProvider().to_dataframe(raw), expected)
    results = session.client.get(data_id)
    if len(results) != 1:
        wrong.append(f"Client.get finds {len(results)} results, expected 1")
    elif not results[0].timeseries_data.equals(ToolStateProvider().to_dataframe(raw)):
        wrong.append("Client.get and ToolStateProvider read different series")
    wrong += differing_entry(session.client.search(data_ids=data_id), about)
    if wrong:
        raise Different(*wrong)


def differing_series(properties, expected):
    wrong = [f"channel `{name}` is missing" for name in expected if name not in properties]
    wrong += [f"channel `{name}` is not expected" for name in properties if name not in expected]
    for name in expected.keys() & properties.keys():
        units, points = expected[name]
        series = properties[name]
        if series["units"] != units:
            wrong.append(f"channel `{name}`: units {series['units']!r}, expected {units!r}")
        found = [
            (at, value)
            for at, value in zip(series["unix_timestamp_ms"], series["values"], strict=True)
            if at is not None
        ]
        if len(found) != len(points):
            wrong.append(f"channel `{name}`: {len(found)} points, expected {len(points)}")
        differing = []
        for place, ((at, value), (low, high, wanted)) in enumerate(zip(found, points)):
            if not low <= at <= high:
                when = f"{low}" if low == high else f"{low} to {high}"
                differing.append(f"channel `{name}` point {place}: at {at} ms, expected {when} ms")
            if value != wanted:
                differing.append(f"channel `{name}` point {place}: {value!r}, expected {wanted!r}")
        wrong += differing[:LISTED]
        if len(differing) > LISTED:
            wrong.append(f"channel `{name}`: {len(differing) - LISTED} more differences")
    return wrong


def differing_frame(frame, expected):
    """The table holds every value in the row of its time; of several at one millisecond, the last."""
    if not expected:
        return [] if frame.empty else [f"the table has {len(frame)} rows, expected none"]
    wrong = []
    columns = {"UNIX Timestamp", "Time", *expected}
    if set(frame.columns) != columns:
        wrong.append(f"the table's columns are {sorted(frame.columns)}, expected {sorted(columns)}")
        return wrong
    times = frame["UNIX Timestamp"].tolist()
    for name, (_, points) in expected.items():
        values = frame[name].tolist()
        # Without the clock's correction the millisecond is known; with it, the place of a point is what is left to check.
        exact = {low: value for low, high, value in points if low == high and value is not None}
        table = dict(zip(times, values))
        differing = [
            f"the table has {table.get(at)!r} for `{name}` at {at} ms, expected {value!r}"
            for at, value in exact.items()
            if table.get(at) != value
        ]
        wrong += differing[:LISTED]
        missing = {value for _, _, value in points if value is not None} - set(values)
        if missing:
            wrong.append(f"the table lacks {len(missing)} values of `{name}`, such as {next(iter(missing))!r}")
    return wrong


def differing_entry(entries, about):
    if len(entries) != 1:
        return [f"Client.search finds {len(entries)} entries, expected 1"]
    entry = entries.iloc[0]
    columns = {"status": "Status", "name": "File Name", "physical_sample": "Physical Sample Name", "tags": "Tags"}
    found = {field: entry[columns[field]] for field in about if field != "channels"}
    wanted = {field: value for field, value in about.items() if field != "channels"}
    if "tags" in about:
        found["tags"], wanted["tags"] = sorted(found["tags"]), sorted(wanted["tags"])
    return [f"{field}: {found[field]!r}, expected {wanted[field]!r}" for field in wanted if found[field] != wanted[field]]


def read_back(session, data_id, file):
    with open(file, encoding="utf-8") as opened:
        about = json.load(opened)
    unknown = about.keys() - {"channels", "status", "name", "physical_sample", "tags"}
    if "channels" not in about or unknown:
        raise Different(f"{file} is no file of expectations: `channels` is missing, or {sorted(unknown)} is too much")
    expected = {
        name: (channel.get("units"), [(ms(at), ms(at), value) for at, value in channel["points"]])
        for name, channel in about["channels"].items()
    }
    compare(session, data_id, expected, about)
    return sum(len(points) for _, points in expected.values())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", required=True, help="base URL of the platform")
    parser.add_argument("--key", required=True, help="API key")
    parser.add_argument("--read-back", metavar="DATA_ID", help="read this stream back instead of streaming")
    parser.add_argument("--expect", metavar="FILE", help="what --read-back has to find")
    parser.add_argument("phases", nargs="*", metavar="PHASE", help=f"{', '.join(PHASES)}; all of them if none is named")
    arguments = parser.parse_args()
    if (arguments.read_back is None) != (arguments.expect is None) or (arguments.read_back and arguments.phases):
        parser.error("--read-back and --expect go together, and without phases")
    unknown = [phase for phase in arguments.phases if phase not in PHASES]
    if unknown:
        parser.error(f"no such phase: {', '.join(unknown)} (there are {', '.join(PHASES)})")

    session = Session(arguments.url.rstrip("/"), arguments.key)
    if arguments.read_back:
        phases = {f"read back {arguments.read_back}": lambda s: read_back(s, arguments.read_back, arguments.expect)}
    else:
        phases = {name: PHASES[name] for name in arguments.phases or PHASES}
    return perform(phases, session)


def perform(phases, session):
    """Goes through phases by name and says how each went. Returns the exit code."""
    warnings.simplefilter("ignore")
    failed = False
    for name, phase in phases.items():
        try:
            points = phase(session)
        except Different as different:
            failed = True
            for line in different.args:
                print(f"{name}: {line}", file=sys.stderr)
        else:
            print(f"{name}: well" + (f", {points} points" if points is not None else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

"""What a lab's scripts ask the platform about its streams, with the vendor's own client against a local platform.

    account.py --url URL --key KEY

Needs ATOMSCALE_SKIP_CLOCK_SYNC, so that stamps are stored as they are sent and every table is known to the last bit.
Exit code 0 when everything is as expected, 1 with one line on stderr for each difference.
"""

import argparse
import datetime
import math
import os
import sys
import time

import pandas
from atomscale import Client
from atomscale.core import ClientError
from atomscale.streaming import TimeseriesStreamer
from vendor import POINTS_PER_CHUNK, START, Different, Session, axis, expect, expect_refused, ms, perform

UTC = datetime.timezone.utc
NOWHERE = "00000000-0000-4000-8000-000000000000"


class Growth:
    """A finalized stream with everything that it can be linked to, and beside it an open one with nothing."""

    def __init__(self, session):
        self.unique = f"{os.getpid()}-{time.time_ns()}"
        self.began = datetime.datetime.now(UTC)
        self.instrument = session.client.create_growth_instrument("Main MBE", "Veeco GEN10", "mbe", self.unique)
        self.name, self.sample, self.tag = f"Growth {self.unique}", f"GaN {self.unique}", f"night {self.unique}"
        self.project = f"project {self.unique}"
        self.data_id = session.streamer.initialize(
            stream_name=self.name,
            synth_source_id=self.instrument,
            physical_sample=self.sample,
            project_id=self.project,
            tags=[self.tag],
        )
        self.table = fill(session, self.data_id)
        session.streamer.finalize(self.data_id)
        time.sleep(0.002)  # Two streams of one millisecond could not be told apart by their times.
        self.open = session.streamer.initialize(stream_name=f"Open {self.unique}")


def fill(session, data_id):
    """Two channels by push_multi, the second on every third stamp. Returns the table that the client has to make of it."""
    points, rows = 0, {}
    for index in range(3):
        stamps = axis(index * POINTS_PER_CHUNK, POINTS_PER_CHUNK)
        temperatures = [580.0 + math.sin(at) for at in stamps]
        pressures = [1e-9 * (index + i + 1) for i in range(len(stamps[::3]))]
        session.streamer.push_multi(
            data_id,
            index,
            {
                "temperature": {"timestamps": stamps, "values": temperatures, "units": "degC"},
                "pressure": {"timestamps": stamps[::3], "values": pressures, "units": "mbar"},
            },
        )
        points += len(stamps) + len(pressures)
        pressure = dict(zip(stamps[::3], pressures))
        for at, value in zip(stamps, temperatures):
            rows[at] = {"temperature": value, "pressure": pressure.get(at)}
    session.wait_for(data_id, points)
    table = pandas.DataFrame(list(rows.values()))
    table["pressure"] = table["pressure"].ffill()
    table.insert(0, "UNIX Timestamp", [ms(at) for at in rows])
    table.insert(1, "Time", [at - START for at in rows])
    return table


def expect_table(found, expected):
    try:
        pandas.testing.assert_frame_equal(found[list(expected.columns)], expected, check_exact=True)
    except (AssertionError, KeyError) as wrong:
        raise Different(f"the table differs: {wrong}".replace("\n", " ")) from None
    expect("columns of the table", sorted(found.columns), sorted(expected.columns))


def expect_client_refused(status, call, words=""):
    try:
        call()
    except ClientError as refusal:
        if refusal.status_code != status or words not in str(refusal):
            raise Different(f"refused with `{refusal}`, expected status {status} and `{words}`") from None
        return
    raise Different(f"accepted, expected to be refused with {status}")


def search(session):
    """Every filter that the client has."""
    growth = Growth(session)
    both = {growth.data_id, growth.open}

    def found(**filters):
        table = session.client.search(**filters)
        return {one for one in table["Data ID"] if one in both} if len(table) else set()

    entries = session.client.search(keywords=growth.unique)
    expect("entries of the session", set(entries["Data ID"]), both)
    entry = entries[entries["Data ID"] == growth.data_id].iloc[0]
    for column, wanted in {
        "File Name": growth.name,
        "Type": "tool_state",
        "Status": "success",
        "Instrument Source": "Main MBE",
        "Physical Sample Name": growth.sample,
        "Project ID": growth.project,
        "Tags": [growth.tag],
    }.items():
        expect(column, entry[column], wanted)
    uploaded, updated = pandas.Timestamp(entry["Upload Datetime"]), pandas.Timestamp(entry["Last Updated"])
    now = datetime.datetime.now(UTC)
    if not growth.began - datetime.timedelta(milliseconds=1) <= uploaded <= updated <= now:
        raise Different(f"uploaded at {uploaded}, updated at {updated}, expected between {growth.began} and {now}")

    one, other, none = {growth.data_id}, {growth.open}, set()
    hour = datetime.timedelta(hours=1)
    for filters, wanted in [
        ({"keywords": [growth.unique, "night"]}, one),
        ({"keywords": growth.unique.upper()}, both),
        ({"keywords": [growth.unique, "no such word"]}, none),
        ({"data_ids": growth.data_id}, one),
        ({"data_ids": [growth.open, growth.data_id, NOWHERE]}, both),
        ({"physical_sample_ids": entry["Physical Sample ID"]}, one),
        ({"physical_sample_ids": [entry["Physical Sample ID"], NOWHERE]}, one),
        ({"project_ids": growth.project}, one),
        ({"project_ids": [NOWHERE]}, none),
        ({"status": "success"}, one),
        ({"status": "stream_active"}, other),
        ({"status": "error"}, none),
        ({"data_type": "tool_state"}, both),
        ({"data_type": "metrology"}, both),
        ({"data_type": "rheed_rotating"}, none),
        ({"growth_length": (1, None)}, none),
        ({"include_organization_data": False}, both),
        ({"upload_datetime": (growth.began - hour, None)}, both),
        ({"upload_datetime": (uploaded, uploaded)}, one),
        ({"upload_datetime": (None, uploaded.tz_localize(None))}, one),
        ({"upload_datetime": (now + hour, None)}, none),
        ({"last_updated": (updated, updated)}, one),
        ({"last_updated": (None, growth.began - hour)}, none),
        ({"keywords": growth.unique, "status": "success", "last_updated": (None, now + hour)}, one),
    ]:
        expect(f"search by {filters}", found(**filters), wanted)
    expect("search for nothing", len(session.client.search(data_ids=NOWHERE)), 0)


def get(session):
    """Tables of series, in the order asked for."""
    growth = Growth(session)
    results = session.client.get([growth.open, growth.data_id])
    expect("results", [result.data_id for result in results], [growth.open, growth.data_id])
    expect("an empty stream's rows", len(results[0].timeseries_data), 0)
    expect_table(results[1].timeseries_data, growth.table)
    expect("results of an unknown data_id", session.client.get(NOWHERE), [])


def samples(session):
    """A sample with its streams, and what nobody has analysed."""
    growth = Growth(session)
    listed = session.client.list_physical_samples()
    row = listed[listed["Physical Sample Name"] == growth.sample].iloc[0]
    expect("streams in the list of samples", row["Data Items"], 1)
    expect("project in the list of samples", row["Project ID"], growth.project)
    number = row["Physical Sample ID"]
    sample = session.client.get_physical_sample(number, align=True)
    expect("name of the sample", sample.physical_sample_name, growth.sample)
    expect("streams of the sample", [one.data_id for one in sample.data_results], [growth.data_id])
    expect_table(sample.data_results[0].timeseries_data, growth.table)
    expect("columns aligned", sorted(c[-1] for c in sample.aligned_timeseries.columns), ["pressure", "temperature"])
    expect("metrics of the sample", len(sample.sample_metrics), 0)
    for what in ("get_physical_sample_timeseries", "get_process_steps", "get_spatial_annotations"):
        call = getattr(session.client, what)
        expect(what, len(call(number)), 0)
        expect_client_refused(404, lambda call=call: call(NOWHERE))
    summaries = session.client.get_ai_summaries([growth.data_id, NOWHERE])
    expect("summaries", list(summaries["task_status"]), ["not_found", "not_found"])
    expect("changepoints", len(session.client.get_changepoints(growth.data_id)), 0)


def projects(session):
    """A project with its samples and their streams."""
    growth = Growth(session)
    listed = session.client.list_projects()
    row = listed[listed["Project ID"] == growth.project].iloc[0]
    expect("samples in the list of projects", row["Physical Sample Count"], 1)
    project = session.client.get_project(growth.project, align=True)
    expect("samples of the project", [one.physical_sample_name for one in project.samples], [growth.sample])
    expect_table(project.samples[0].data_results[0].timeseries_data, growth.table)
    if project.aligned_timeseries.empty:
        raise Different("the project's aligned table is empty")
    expect("samples of an unknown project", session.client.get_project(NOWHERE).samples, [])


def instruments(session):
    """Growth instruments of every type, made, found and gone."""
    made = {}
    for kind in ("mbe", "cvd", "pvd", "sputter", "ald", "pld"):
        made[session.client.create_growth_instrument(f"Main {kind}", "Veeco GEN10", kind)] = kind
    listed = {one["synth_source_id"]: one for one in session.client.list_growth_instruments()}
    for number, kind in made.items():
        expect("name", listed[number]["source_name"], f"Main {kind}")
        expect("type", listed[number]["synth_source_type"], kind)
        expect("maker and model", (listed[number]["source_manufacturer"], listed[number]["source_model"]), ("Veeco", "GEN10"))
    expect_client_refused(422, lambda: session.client.create_growth_instrument("Oven", "Oven", "oven"), "expected one of")
    for number in made:
        session.client.delete_growth_instrument(number)
    left = {one["synth_source_id"] for one in session.client.list_growth_instruments()}
    expect("instruments left", left & made.keys(), set())


def refusals(session):
    """Wrong keys, lists of unequal length, streams that nobody knows, files."""
    stranger = Client(api_key="wrong", endpoint=session.client.endpoint, mute_bars=True)
    for call in (stranger.list_growth_instruments, stranger.search, stranger.list_projects):
        expect_client_refused(401, call, "X-API-KEY")
    wrong = TimeseriesStreamer(api_key="wrong", endpoint=session.client.endpoint.rstrip("/"), verbosity=0)
    expect_refused("401", wrong.initialize)

    streamer = session.streamer
    data_id = streamer.initialize(stream_name="refusals")
    unequal = {"t": {"timestamps": [START, START + 1], "values": [1.0]}}
    expect_refused("same length", lambda: streamer.push(data_id, 0, "t", [START, START + 1], [1.0]))
    expect_refused("same length", lambda: streamer.push_multi(data_id, 0, unequal))
    expect_refused("same length", lambda: streamer.run(data_id, "t", iter([([START], [1.0, 2.0])])))
    expect_refused("404", lambda: streamer.run(NOWHERE, "t", iter([([START], [1.0])])))
    expect_refused("404", lambda: streamer.finalize(NOWHERE))
    # The streamer says nothing of a push that is refused; nothing of it may be stored.
    streamer.push(NOWHERE, 0, "t", [START], [1.0])
    expect_refused("422", lambda: streamer.initialize(physical_sample="s", synth_source_id=999_999))
    streamer.finalize(data_id)
    expect("what is stored of the refused", len(session.client.get(data_id)[0].timeseries_data), 0)
    expect_client_refused(501, lambda: session.client.upload([__file__]), "and no files")
    expect_client_refused(None, lambda: session.client.download(data_id, dest_dir=os.devnull + "-nowhere"), "No processed data")


PHASES = {
    "search": search,
    "get": get,
    "samples": samples,
    "projects": projects,
    "instruments": instruments,
    "account refusals": refusals,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", required=True, help="base URL of the platform")
    parser.add_argument("--key", required=True, help="API key")
    arguments = parser.parse_args()
    session = Session(arguments.url.rstrip("/"), arguments.key)
    if session.corrects:
        parser.error("set ATOMSCALE_SKIP_CLOCK_SYNC=1: with the clock's correction no table is known to the last bit")
    return perform(PHASES, session)


if __name__ == "__main__":
    sys.exit(main())

"""A local platform for each test that asks for one, and the streamer under test in a folder of its own."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

# Where tests run in the background, a shell has Ctrl-C ignored, and programs that they start inherit that. A handler is not
# inherited: they begin as in a terminal.
signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = pathlib.Path(__file__).resolve().parents[2]
KEY = "python-test-key"
DEADLINE = 30


def wait_for(what, condition, seconds=DEADLINE):
    """Polls until the condition gives something true, and returns that."""
    end = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.01)


class Platform:
    """`mbe-bridge server` as a process, with what it stored and its faults."""

    def __init__(self, folder):
        self.folder = folder
        self.address = "127.0.0.1:0"
        self.process = None
        self.start()

    def start(self):
        binary = os.environ.get("MBE_BRIDGE", ROOT / "target/debug/mbe-bridge")
        self.process = subprocess.Popen(
            [binary, "server", "--listen", self.address, "--control", "127.0.0.1:0", "--data", self.folder],
            env={**os.environ, "AS_API_KEY": KEY},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.url = self.process.stdout.readline().strip()
        assert self.url.startswith("http://"), "the platform did not start"
        self.address = self.url.removeprefix("http://") if sys.version_info >= (3, 9) else self.url[7:]
        self.control = self.process.stdout.readline().split()[1]

    def stop(self):
        self.process.kill()
        self.process.communicate()

    def restart(self):
        """Ends what hangs: requests that a fault has left without an answer are cut off with the process."""
        self.stop()
        self.start()

    def fault(self, plan):
        request = urllib.request.Request(self.control, data=plan.encode(), method="PUT")
        urllib.request.urlopen(request, timeout=10).read()

    def get(self, path):
        request = urllib.request.Request(self.url + path, headers={"X-API-KEY": KEY})
        return json.load(urllib.request.urlopen(request, timeout=10))

    def channels(self, data_id):
        """By channel the unit and the stored points, (Unix ms, value)."""
        stored = self.get(f"/tool-state/{data_id}/timeseries/")["properties"]
        return {
            name: (series["units"], points(series["unix_timestamp_ms"], series["values"]))
            for name, series in stored.items()
        }

    def entry(self, data_id):
        return next(entry for entry in self.get("/data_entries/") if entry["data_id"] == data_id)

    def finalized(self, data_id):
        return self.entry(data_id)["pipeline_status"] == "success"


def points(stamps_ms, values):
    """Points as the platform gives them: places of a slice that were not filled are left out."""
    return [(stamp, value) for stamp, value in zip(stamps_ms, values) if stamp is not None]


def expected(timestamps, values):
    """The same of what was pushed: missing values are left out, stamps are whole milliseconds."""
    return [
        (round(stamp * 1000), value)
        for stamp, value in zip(timestamps, values)
        if value is not None and value == value
    ]


@pytest.fixture
def platform(tmp_path):
    platform = Platform(tmp_path / "platform")
    yield platform
    platform.stop()


@pytest.fixture
def host_clock(monkeypatch):
    """Stamps leave as they were given."""
    monkeypatch.setenv("ATOMSCALE_SKIP_CLOCK_SYNC", "1")


@pytest.fixture
def make(platform, tmp_path, host_clock):
    """Makes streamers to the platform, in one data folder; closes them in the end."""
    from mbe_bridge.streaming import TimeseriesStreamer

    made = []

    def make(**options):
        options.setdefault("api_key", KEY)
        options.setdefault("endpoint", platform.url)
        options.setdefault("data_dir", tmp_path / "data")
        made.append(TimeseriesStreamer(**options))
        return made[-1]

    yield make
    for streamer in made:
        streamer.close(0)


@pytest.fixture
def streamer(make):
    return make()


@pytest.fixture
def program(platform, tmp_path):
    """Starts a Python program with URL, KEY and DATA in its environment."""
    started = []

    def start(text, **variables):
        path = tmp_path / f"program-{len(started)}.py"
        path.write_text(text)
        environment = {
            **os.environ,
            "URL": platform.url,
            "KEY": KEY,
            "DATA": str(tmp_path / "data"),
            "ATOMSCALE_SKIP_CLOCK_SYNC": "1",
            **variables,
        }
        process = subprocess.Popen(
            [sys.executable, path],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()

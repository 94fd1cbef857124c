"""While something is waited for: other threads run on, Ctrl-C ends it, and the data is safe whatever happens."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from conftest import DEADLINE, KEY, expected, wait_for

T = [1_795_357_081.0 + i * 0.1 for i in range(100)]
V = [25.0 + i * 0.01 for i in range(100)]

# Calls that wait for the platform, on a streamer with something pushed.
WAITS = {
    "initialize": "streamer.initialize('another')",
    "run": "streamer.run(data_id, 'run', iter([([1795357081.0], [1.0])]))",
    "flush": "streamer.flush()",
    "finalize": "streamer.finalize(data_id)",
    "list": "mbe_bridge.Client(os.environ['KEY'], os.environ['URL']).list_growth_instruments()",
}

BEGIN = """
import os, signal, sys, threading, time
import mbe_bridge
from mbe_bridge.streaming import TimeseriesStreamer

streamer = TimeseriesStreamer(os.environ["KEY"], os.environ["URL"], data_dir=os.environ["DATA"])
"""


def say(process, line):
    process.stdin.write(line + "\n")
    process.stdin.flush()


@pytest.mark.parametrize("call", WAITS)
def test_ctrl_c_ends_a_wait(call, platform, program):
    process = program(
        BEGIN
        + textwrap.dedent(
            f"""
            data_id = streamer.initialize("interrupted")
            print(data_id, flush=True)
            input()
            streamer.push(data_id, 0, "c", [1795357081.0], [1.0])
            handler = signal.getsignal(signal.SIGINT)
            def told(*arguments):
                global at
                at = time.monotonic()
                handler(*arguments)
            signal.signal(signal.SIGINT, told)
            threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
            sent = time.monotonic() + 0.3
            try:
                {WAITS[call]}
            except KeyboardInterrupt:
                print(time.monotonic() - sent, flush=True)
            input()
            streamer.finalize(data_id)
            """
        )
    )
    data_id = process.stdout.readline().strip()
    platform.fault("hang")
    say(process, "go")
    late = float(process.stdout.readline() or "nan")
    platform.restart()
    say(process, "go")
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors
    assert late < 0.2, f"{late} s after the signal"
    assert platform.channels(data_id)["c"] == (None, [(1_795_357_081_000, 1.0)])


@pytest.mark.parametrize("call", WAITS)
def test_other_threads_run_on(call, platform, program):
    def worst():
        """The longest, in seconds, that a thread which ticks each millisecond was stopped in a second of waiting."""
        process = program(
            BEGIN
            + textwrap.dedent(
                f"""
                data_id = streamer.initialize("ticking")
                print(data_id, flush=True)
                input()
                streamer.push(data_id, 0, "c", [1795357081.0], [1.0])
                worst, done = 0.0, False
                def tick():
                    global worst
                    last = time.monotonic()
                    while not done:
                        time.sleep(0.001)
                        now = time.monotonic()
                        worst, last = max(worst, now - last), now
                ticking = threading.Thread(target=tick)
                ticking.start()
                threading.Timer(1.0, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
                try:
                    {WAITS[call]}
                except KeyboardInterrupt:
                    pass
                done = True
                ticking.join()
                print(worst, flush=True)
                os._exit(0)
                """
            )
        )
        process.stdout.readline()
        platform.fault("hang")
        say(process, "go")
        longest = float(process.stdout.readline() or "nan")
        platform.restart()
        return longest

    # A busy machine stops threads, too, now and then; a call that holds the interpreter does so each time.
    tries = [worst()]
    while min(tries) >= 0.02 and len(tries) < 5:
        tries.append(worst())
    assert min(tries) < 0.02, f"a thread was stopped for {tries} s"


def test_pushing_never_waits_for_the_platform(streamer, platform):
    data_id = streamer.initialize()
    platform.fault("hang")
    longest = 0.0
    for chunk in range(50):
        begun = time.monotonic()
        streamer.push(data_id, chunk, "c", T, V)
        longest = max(longest, time.monotonic() - begun)
    assert longest < 1.0
    assert streamer.pending == 50
    with pytest.raises(TimeoutError, match="50 chunks"):
        streamer.flush(0.1)
    platform.restart()
    streamer.flush(DEADLINE)
    assert streamer.pending == 0
    assert platform.channels(data_id) == {"c": (None, expected(T * 50, V * 50))}
    streamer.finalize(data_id)


@pytest.mark.parametrize("fault", ["down", "status:503", "reset-request", "cut-reply", "garbage"])
def test_an_outage_loses_nothing(fault, streamer, platform):
    data_id = streamer.initialize(f"through {fault}")
    for chunk in range(3):
        streamer.push(data_id, chunk, "c", T, V, "C")
    platform.fault(fault)
    for chunk in range(3, 6):
        streamer.push(data_id, chunk, "c", T, V, "C")
    finished = threading.Thread(target=streamer.finalize, args=(data_id,))
    finished.start()
    for what, word in (("platform", "down"), ("state", "closing")):
        wait_for(f"{what} {word}", lambda what=what, word=word: streamer.status()[data_id][what] == word)
    platform.fault("none")
    finished.join(60)
    assert not finished.is_alive()
    assert platform.channels(data_id) == {"c": ("C", expected(T * 6, V * 6))}
    assert platform.finalized(data_id)


def test_a_platform_that_is_started_again(streamer, platform):
    data_id = streamer.initialize("through a restart")
    platform.stop()
    for chunk in range(5):
        streamer.push(data_id, chunk, "c", T, V)
    platform.start()
    seen = []
    streamer.finalize(data_id, progress=seen.append)
    assert platform.channels(data_id) == {"c": (None, expected(T * 5, V * 5))}
    assert all(status["data_id"] == data_id for status in seen)


def test_an_error_of_progress_ends_the_wait(streamer, platform):
    data_id = streamer.initialize()
    platform.fault("hang")
    streamer.push(data_id, 0, "c", T, V)

    def progress(status):
        raise LookupError(status["queued_chunks"])

    with pytest.raises(LookupError):
        streamer.finalize(data_id, progress=progress)


def test_killed_and_resumed(platform, program, make):
    process = program(
        BEGIN
        + textwrap.dedent(
            """
            data_id = streamer.initialize("killed")
            print(data_id, flush=True)
            input()
            for chunk in range(10**9):
                streamer.push(data_id, chunk, "c", [1795357081.0 + chunk], [float(chunk)], "C")
                print(chunk, flush=True)
            """
        )
    )
    data_id = process.stdout.readline().strip()
    platform.fault("hang")
    say(process, "go")
    for _ in range(20):
        process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    pushed = 20 + len(process.communicate()[0].splitlines())
    platform.fault("none")

    streamer = make()
    resumed = streamer.resume(data_id)
    # The chunk in hand when it was killed may be on disk though its push has not returned.
    following = resumed["next_chunk_index"]
    assert following in (pushed, pushed + 1)
    channel = resumed["channels"]["c"]
    assert channel == {
        "units": "C",
        "next_chunk_index": following,
        "points": following,
        "last_timestamp": 1_795_357_081.0 + following - 1,
    }
    assert resumed["points_per_chunk"] == 100
    streamer.push(data_id, following, "c", [1_795_357_081.0 + following], [float(following)], "C")
    streamer.finalize(data_id)
    stored = [((1_795_357_081 + i) * 1000, float(i)) for i in range(following + 1)]
    assert platform.channels(data_id) == {"c": ("C", stored)}
    assert platform.finalized(data_id)


def test_what_a_killed_program_left_goes_with_the_next(platform, program, make):
    process = program(
        BEGIN
        + textwrap.dedent(
            """
            data_id = streamer.initialize("left")
            print(data_id, flush=True)
            input()
            streamer.push_multi(data_id, 0, {"c": {"timestamps": [1795357081.0], "values": [1.0]}})
            print("pushed", flush=True)
            input()
            """
        )
    )
    data_id = process.stdout.readline().strip()
    platform.fault("down")
    say(process, "go")
    process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    platform.fault("none")
    streamer = make()
    wait_for("the point", lambda: platform.channels(data_id) == {"c": (None, [(1_795_357_081_000, 1.0)])})
    streamer.finalize(streamer.initialize("another"))


@pytest.mark.parametrize("durable", [True, False])
def test_a_program_ends_with_chunks_unsent(durable, platform, program, make):
    process = program(
        BEGIN.replace("data_dir=", f"durable={durable}, data_dir=")
        + textwrap.dedent(
            """
            data_id = streamer.initialize("ended")
            print(data_id, flush=True)
            input()
            for chunk in range(30):
                streamer.push(data_id, chunk, "c", [1795357081.0 + chunk], [float(chunk)])
            """
        )
    )
    data_id = process.stdout.readline().strip()
    platform.fault("hang")
    begun = time.monotonic()
    say(process, "go")
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 0, errors
    assert time.monotonic() - begun < 8
    assert "30 chunks are not on the platform yet" in errors
    platform.fault("none")
    streamer = make()
    assert streamer.resume(data_id)["next_chunk_index"] == 30
    streamer.finalize(data_id)
    stored = [((1_795_357_081 + i) * 1000, float(i)) for i in range(30)]
    assert platform.channels(data_id) == {"c": (None, stored)}


def test_a_program_that_ends_waits_a_moment_for_the_platform(platform, program):
    process = program(
        BEGIN
        + textwrap.dedent(
            """
            data_id = streamer.initialize("short")
            streamer.push(data_id, 0, "c", [1795357081.0], [1.0])
            print(data_id)
            """
        )
    )
    output, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (0, "")
    assert platform.channels(output.strip()) == {"c": (None, [(1_795_357_081_000, 1.0)])}


def test_the_block_of_a_context_manager(platform, make):
    with make() as streamer:
        data_id = streamer.initialize()
        streamer.push(data_id, 0, "c", T, V)
    assert platform.channels(data_id) == {"c": (None, expected(T, V))}
    assert not platform.finalized(data_id)
    with make() as another, pytest.raises(LookupError):
        assert another.resume(data_id)["next_chunk_index"] == 1
        raise LookupError
    third = make()
    third.resume(data_id)
    third.finalize(data_id)
    assert platform.finalized(data_id)


def test_a_dropped_streamer_lets_go_of_its_streams(make, platform, tmp_path):
    from mbe_bridge.streaming import TimeseriesStreamer

    streamer = TimeseriesStreamer(KEY, platform.url, data_dir=tmp_path / "data")
    data_id = streamer.initialize()
    streamer.push(data_id, 0, "c", T, V)
    del streamer
    again = make()
    assert again.resume(data_id)["next_chunk_index"] == 1
    again.finalize(data_id)
    assert platform.channels(data_id) == {"c": (None, expected(T, V))}


def test_a_stream_that_another_process_has(platform, program, make):
    process = program(BEGIN + "print(streamer.initialize('mine'), flush=True)\ninput()\n")
    data_id = process.stdout.readline().strip()
    with pytest.raises(RuntimeError, match=str(process.pid)):
        make().resume(data_id)


def test_many_threads_push_at_once(streamer, platform):
    data_id = streamer.initialize("threads")
    failures = []

    def work(channel):
        try:
            for chunk in range(25):
                streamer.push(data_id, chunk, f"channel {channel}", T, V)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(channel,)) for channel in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    streamer.finalize(data_id)
    stored = platform.channels(data_id)
    assert stored == {f"channel {channel}": (None, expected(T * 25, V * 25)) for channel in range(8)}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a system that forks")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_fork(platform, program):
    process = program(
        BEGIN
        + textwrap.dedent(
            """
            data_id = streamer.initialize("forked")
            streamer.push(data_id, 0, "c", [1795357081.0], [1.0])
            child = os.fork()
            if child == 0:
                for call in (
                    lambda: streamer.push(data_id, 1, "c", [1795357082.0], [2.0]),
                    lambda: streamer.push_multi(data_id, 1, {}),
                    lambda: streamer.finalize(data_id),
                    lambda: streamer.initialize(),
                    lambda: streamer.run(data_id, "c", []),
                    lambda: streamer.flush(),
                    lambda: streamer.close(),
                    lambda: streamer.status(),
                    lambda: streamer.pending,
                    lambda: streamer.clock_status(),
                    lambda: streamer.resume(data_id),
                ):
                    try:
                        call()
                    except RuntimeError as error:
                        assert "before a fork" in str(error) and str(os.getppid()) in str(error), error
                    else:
                        sys.exit("no error")
                own = TimeseriesStreamer(os.environ["KEY"], os.environ["URL"], data_dir=os.environ["DATA"])
                mine = own.initialize("of the child")
                own.push(mine, 0, "c", [1795357083.0], [3.0])
                own.finalize(mine)
                print(mine, flush=True)
                del streamer
                sys.exit(7)
            _, status = os.waitpid(child, 0)
            assert os.waitstatus_to_exitcode(status) == 7, status
            streamer.push(data_id, 1, "c", [1795357082.0], [2.0])
            streamer.finalize(data_id)
            print(data_id)
            """
        )
    )
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")
    child, parent = output.split()
    assert platform.channels(child) == {"c": (None, [(1_795_357_083_000, 3.0)])}
    assert platform.channels(parent) == {"c": (None, [(1_795_357_081_000, 1.0), (1_795_357_082_000, 2.0)])}
    assert platform.finalized(child) and platform.finalized(parent)


def test_the_clock_is_told(platform, tmp_path, monkeypatch):
    monkeypatch.delenv("ATOMSCALE_SKIP_CLOCK_SYNC", raising=False)
    from mbe_bridge.streaming import TimeseriesStreamer

    with TimeseriesStreamer(KEY, platform.url, data_dir=tmp_path / "data") as streamer:
        streamer.finalize(streamer.initialize())
        status = wait_for("a measurement", streamer.clock_status)
    assert set(status) == {"offset_ms", "uncertainty_ms", "measured_at_unix_ms"}
    assert abs(status["offset_ms"]) <= status["uncertainty_ms"] + 5
    assert abs(status["measured_at_unix_ms"] / 1000 - time.time()) < 60


def test_nothing_is_printed_unasked(platform, program):
    process = program(BEGIN + "streamer.finalize(streamer.initialize('quiet'))\n")
    assert process.communicate(timeout=20) == ("", "")
    process = program(BEGIN.replace("data_dir", "verbosity=4, data_dir") + "streamer.finalize(streamer.initialize('loud'))\n")
    output, errors = process.communicate(timeout=20)
    assert output == "" and errors != "" and KEY not in errors


def test_importing_is_quick_and_imports_no_other_package():
    line = (
        "import time; begun = time.perf_counter(); import mbe_bridge.streaming; took = time.perf_counter() - begun;"
        "import sys; print(took, {'numpy', 'pandas', 'typing_extensions'} & set(sys.modules))"
    )
    runs = [subprocess.check_output([sys.executable, "-c", line], text=True).split(" ", 1) for _ in range(5)]
    assert {modules for _, modules in runs} == {"set()\n"}
    assert min(float(took) for took, _ in runs) < 0.05

"""Sessions: what a call that makes one answers, waiting, files in both directions, following."""

from __future__ import annotations

import io
import json
import os
import pathlib
import pickle
import tempfile
import threading
import time
import unittest
from unittest import mock

import fake_server
from fake_server import SESSION
from test_client import ClientCase

import nesssi
from nesssi import acts, session_values


class SessionCase(ClientCase):
    def setUp(self) -> None:
        super().setUp()
        self.svr = self.client()
        self.session = nesssi.Session(SESSION, self.svr)
        place = tempfile.TemporaryDirectory()
        self.addCleanup(place.cleanup)
        self.place = pathlib.Path(place.name)


class Making(SessionCase):
    def test_what_makes_a_session_answers_one_and_nothing_else_does(self) -> None:
        for made in (self.svr.sleepy.sleepyAdd(1), self.svr.job.submit([], 1)):
            self.assertIsInstance(made, nesssi.Session)
            self.assertEqual(made, SESSION)
            self.assertEqual(json.dumps([made]), json.dumps([SESSION]))
        for plain in (self.svr.hex.digits(), self.svr.hex.other()):
            self.assertIs(type(plain), str)
        for wrong in ("", SESSION.upper(), SESSION[1:], SESSION + "0"):
            with self.assertRaisesRegex(ValueError, "32 hex digits"):
                nesssi.Session(wrong, self.svr)

    def test_it_is_a_string_on_the_wire_and_when_it_is_kept(self) -> None:
        for rpc in ("xmlrpc", "jsonrpc"):
            made = self.client(rpc=rpc).sleepy.sleepyAdd(1)
            self.assertEqual(self.svr.echo.echo(made, [made]), [SESSION, [SESSION]])
        kept = pickle.loads(pickle.dumps(made))
        self.assertIs(type(kept), str)
        self.assertEqual(kept, SESSION)

    def test_its_status_has_attributes_and_a_face(self) -> None:
        self.server.status.update(wall_seconds=63.0, exit_code=3, reason="of its own", odd=[1])
        status = self.session.status()
        self.assertEqual((status.state, status.ended, status.ok, status.cpu_limit), ("running", False, False, 20.0))
        self.assertEqual((status.exit_code, status.odd, status["odd"]), (3, [1], [1]))
        self.assertEqual(repr(status), "<running, 0.5 of 20 CPU seconds, 1:03, exit code 3, of its own>")
        self.assertIn("odd", dir(status))
        with self.assertRaises(AttributeError):
            status.nothing  # noqa: B018
        with self.assertRaises(nesssi.NotFound):
            nesssi.Session(SESSION[::-1], self.svr).status()

    def test_the_rest_of_what_it_can_do(self) -> None:
        self.assertEqual(self.session.url, f"http://localhost:8080/sandboxes/{SESSION}/")
        self.assertEqual(self.session.cancel(), "cancelled")
        self.assertEqual(self.session.extend(60).year, 2006)
        self.assertIs(self.session.destroy(), True)
        made = self.svr.sleepy.sleepyAdd(1)
        self.assertIn(SESSION, made.url)
        self.assertEqual([name for _, name, _ in self.server.calls].count("session.url"), 1)


class Waiting(SessionCase):
    def later(self, act: object, seconds: float = 0.2) -> None:
        timer = threading.Timer(seconds, act)  # type: ignore[arg-type]
        timer.start()
        self.addCleanup(timer.join)

    def test_it_waits_in_the_server(self) -> None:
        self.later(lambda: self.server.become("done"))
        status = self.session.wait()
        self.assertTrue(status.ok)
        self.assertEqual([name for _, name, _ in self.server.calls], ["job.wait"])

    def test_a_server_that_cannot_is_asked_now_and_then(self) -> None:
        with mock.patch.object(fake_server._Handler, "answer_job_wait", None):
            self.later(lambda: self.server.become("failed"))
            self.assertEqual(self.session.wait().state, "failed")
        self.assertEqual([name for _, name, _ in self.server.calls].count("job.wait"), 1)

    def test_the_time_can_be_up(self) -> None:
        began = time.monotonic()
        with self.assertRaises(nesssi.WaitTimeout) as raised:
            self.session.wait(timeout=0.3)
        self.assertEqual(raised.exception.status.state, "running")
        self.assertLess(time.monotonic() - began, 5)
        self.assertIsInstance(raised.exception, TimeoutError)

    def test_a_server_that_is_away_is_waited_for(self) -> None:
        self.session.status()
        port = self.server.http.server_port
        self.server.stop()
        again: list[fake_server.Server] = []

        def back() -> None:
            again.append(fake_server.Server(self.made, port=port))
            again[0].status["state"] = "done"

        self.later(back, 0.5)
        with mock.patch("nesssi.tags.AGAIN_MAX", 1):
            self.assertTrue(self.session.wait().ok)
        again[0].stop()

    def test_patience_ends(self) -> None:
        self.session.status()
        self.server.stop()
        with mock.patch("nesssi.acts.PATIENCE_SECONDS", 0.2), self.assertRaises(nesssi.CannotConnect):
            self.session.wait()

    def test_a_line_in_a_terminal_and_none_elsewhere(self) -> None:
        class Terminal(io.StringIO):
            def isatty(self) -> bool:
                return True

        for stream, shown in ((Terminal(), True), (io.StringIO(), False)):
            self.server.status["state"] = "running"
            self.later(lambda: self.server.become("done"))
            with mock.patch("sys.stderr", stream):
                self.session.wait()
            self.assertEqual("0123" in stream.getvalue(), shown)
            if shown:
                self.assertRegex(stream.getvalue(), r"\r01234567  done +CPU 0.5/20 s  0:0\d\n$")
        told: list[str] = []
        self.session.wait(progress=lambda status: told.append(status.state))
        self.assertEqual(told, ["done"])
        client = self.client(progress_cb=lambda status: told.append("by the client"))
        nesssi.Session(SESSION, client).wait()
        self.assertEqual(told[-1], "by the client")


class Files(SessionCase):
    def setUp(self) -> None:
        super().setUp()
        self.data = bytes(range(256)) * 1000
        self.server.files = {"stdout": b"out\n", "d": None, "d/e": None, "d/e/a b\u00fc": self.data, "empty": b""}

    def test_they_are_listed(self) -> None:
        self.assertEqual([file.path for file in self.session.files()], ["d", "empty", "stdout"])
        found = self.session.files(recursive=True)
        self.assertEqual([file.path for file in found], ["d", "d/e", "d/e/a bü", "empty", "stdout"])
        self.assertEqual((found[2].name, found[2].size, found[2].directory), ("a bü", 256000, False))
        self.assertEqual([file.path for file in self.session.files("d/e")], ["d/e/a bü"])
        with self.assertRaises(nesssi.NotFound):
            self.session.files("absent")

    def test_they_are_read_in_parts(self) -> None:
        read = self.session.read
        self.assertEqual(read("stdout"), b"out\n")
        self.assertEqual(read("/d/e/a bü", 1, 3), b"\1\2\3")
        self.assertEqual([read("stdout", 2), read("stdout", 9), read("stdout", 0, 0)], [b"t\n", b"", b""])
        for path in ("../x", "a/../b", ".hidden", "a\0"):
            with self.subTest(path), self.assertRaisesRegex(ValueError, "refused"):
                read(path)
        with self.assertRaises(ValueError):
            read("stdout", -1)
        self.server.break_off = [2]
        self.assertEqual(read("stdout"), b"out\n")
        self.assertEqual(self.svr.file.read("/x", 0, -1), b"<methodResponse> raw")
        with self.assertRaises(nesssi.NotFound):
            self.svr.file.read("absent", 0, -1)

    def test_one_is_brought(self) -> None:
        self.assertEqual(self.session.download("stdout", to=self.place), [str(self.place / "stdout")])
        new = self.place / "new"
        self.assertEqual(self.session.download("d/e/a bü", to=new), [str(new)])
        self.assertEqual(new.read_bytes(), self.data)
        self.assertEqual(sorted(os.listdir(self.place)), ["new", "stdout"])
        self.assertEqual(int(new.stat().st_mtime), 1164196800)
        # It is here: not brought again, unless it changed.
        before = len(self.server.gets)
        told: list[object] = []
        self.session.download("stdout", to=self.place, progress=lambda *what: told.append(what))
        self.assertEqual(told, [("stdout", 4, 4)])
        self.server.files["stdout"] = b"more\n"
        self.session.download("stdout", to=self.place)
        self.assertEqual((self.place / "stdout").read_bytes(), b"more\n")
        self.assertGreater(len(self.server.gets), before)

    def test_all_are_brought(self) -> None:
        made = self.session.download(to=self.place / "all")
        found = {str(path.relative_to(self.place / "all")) for path in (self.place / "all").rglob("*")}
        self.assertEqual(found, {"stdout", "empty", "d", "d/e", "d/e/a bü"})
        self.assertEqual(len(made), 3)
        self.session.download("d/e", to=self.place)
        self.assertEqual((self.place / "e" / "a bü").read_bytes(), self.data)

    def test_what_breaks_off_goes_on(self) -> None:
        self.server.break_off = [1000, 50000]
        self.session.download("d/e/a bü", to=self.place / "x")
        self.assertEqual((self.place / "x").read_bytes(), self.data)
        ranges = [got.get("Range") for got in self.server.gets if got.get("Range")]
        self.assertEqual(ranges, ["bytes=1000-", "bytes=51000-"])

    def test_a_later_program_goes_on_too_if_it_is_the_same_version(self) -> None:
        for version in (1, 2):
            self.server.version = 1
            self.server.break_off = [1000]
            with mock.patch.object(acts.Patience, "after", Files.no_patience):
                with self.assertRaises(nesssi.ReplyLost):
                    self.session.download("d/e/a bü", to=self.place / "x")
            self.assertEqual((self.place / "x.nesssi-part").stat().st_size, 1000)
            self.assertNotIn(SESSION, (self.place / "x.nesssi-version").read_text())
            self.server.version = version
            self.server.gets.clear()
            self.session.download("d/e/a bü", to=self.place / "x")
            self.assertEqual((self.place / "x").read_bytes(), self.data)
            self.assertEqual(self.server.gets[-1].get("Range"), "bytes=1000-")
            self.assertEqual(sorted(os.listdir(self.place)), ["x"])
            (self.place / "x").unlink()

    async def no_patience(_: object, wrong: Exception) -> None:
        raise wrong

    def test_without_resume_it_is_begun_anew(self) -> None:
        (self.place / "x.nesssi-part").write_bytes(b"junk" * 100000)
        (self.place / "x.nesssi-version").write_text(f"{acts._owner(SESSION, 'stdout')}\n\"1\"")
        self.session.download("stdout", to=self.place / "x", resume=False)
        self.assertEqual((self.place / "x").read_bytes(), b"out\n")

    def test_hostile_names_are_refused(self) -> None:
        place = self.place / "in"
        for name in ("../evil", "..", "/etc/evil", "a/b", "", ".ssh", "a\nb", "x" * 256, 7, None):
            self.server.listed = [{"name": name, "directory": False, "size": 1, "modified": 0}]
            with self.subTest(name), self.assertRaisesRegex(nesssi.BadReply, "refused"):
                self.session.download(to=place)
        self.assertEqual(os.listdir(place), [])
        self.assertEqual(os.listdir(self.place), ["in"])
        for listed in ([1], [{}], [{"name": "a", "directory": 1, "size": 1}], [{"name": "a", "directory": False, "size": -1}]):
            self.server.listed = listed
            with self.subTest(listed), self.assertRaises(nesssi.BadReply):
                self.session.files()

    def test_links_that_lie_in_the_way_are_not_followed(self) -> None:
        outside = self.place / "outside"
        outside.mkdir()
        inside = self.place / "inside"
        inside.mkdir()
        (inside / "d").symlink_to(outside)
        with self.assertRaises(NotADirectoryError):
            self.session.download(to=inside)
        (inside / "d").unlink()
        (inside / "stdout.nesssi-part").symlink_to(outside / "x")
        with self.assertRaises(OSError):
            self.session.download(to=inside)
        self.assertEqual(os.listdir(outside), [])

    def test_nothing_that_another_has_laid_beside_it_is_written(self) -> None:
        other = self.place / "other"
        other.write_bytes(b"untouched")
        part = self.place / "x.nesssi-part"
        for name in ("x.nesssi-part", "x.nesssi-version"):
            with self.subTest(name):
                os.link(other, self.place / name)
                with self.assertRaisesRegex(OSError, "no plain file of yours alone"):
                    self.session.download("stdout", to=self.place / "x")
                self.assertEqual(other.read_bytes(), b"untouched")
            for left in self.place.glob("x*"):
                left.unlink()
        os.mkfifo(part)
        with self.assertRaises(OSError):
            self.session.download("stdout", to=self.place / "x")

    def test_a_tree_that_never_ends_does(self) -> None:
        self.server.listed = [{"name": "d", "directory": True, "size": 0, "modified": 0}]
        self.server.files = {"/".join(["d"] * count): None for count in range(1, 100)}
        with self.assertRaisesRegex(ValueError, "deeper than 64"):
            self.session.files(recursive=True)

    def test_they_are_sent(self) -> None:
        self.assertEqual(self.session.upload(b"abc", "in/x"), 3)
        self.assertEqual(self.server.files["in/x"], b"abc")
        (self.place / "y").write_bytes(self.data)
        told: list[tuple[str, int, int]] = []
        self.server.lose = 1
        size = self.session.upload(self.place / "y", "y z", progress=lambda *what: told.append(what))
        self.assertEqual((size, self.server.files["y z"]), (len(self.data), self.data))
        self.assertEqual(told[-1], ("y z", len(self.data), len(self.data)))
        file = io.BytesIO(b"0123")
        file.seek(2)
        self.session.upload(file, "part")
        self.assertEqual(self.server.files["part"], b"23")
        with self.assertRaisesRegex(nesssi.OverLimit, "too large"):
            self.session.upload(b"x" * 20_000_000, "large")
        for path in ("", "../x", ".hidden"):
            with self.assertRaises(ValueError):
                self.session.upload(b"", path)
        with self.assertRaises(FileNotFoundError):
            self.session.upload(self.place / "absent", "x")


class Following(SessionCase):
    def test_what_is_written_comes_until_the_job_ends(self) -> None:
        def work() -> None:
            time.sleep(0.1)
            self.server.files["stdout"] = b"one\n\xc3"
            time.sleep(0.3)
            self.server.break_off = [1]
            self.server.files["stdout"] = "one\nü two\n".encode()
            time.sleep(0.3)
            self.server.become("done")

        writer = threading.Thread(target=work)
        with mock.patch("nesssi.acts.FOLLOW_SECONDS", 0.05):
            writer.start()
            text = "".join(self.session.tail())
        writer.join()
        self.assertEqual(text, "one\nü two\n")

    def test_what_is_there_from_the_end_and_as_bytes(self) -> None:
        self.server.files["log"] = b"0123456789\xff"
        self.assertEqual(list(self.session.tail("log", follow=False)), ["0123456789\ufffd"])
        self.assertEqual(list(self.session.tail("log", follow=False, start=-3, binary=True)), [b"89\xff"])
        self.assertEqual(list(self.session.tail("log", follow=False, start=10, binary=True)), [b"\xff"])
        with self.assertRaises(nesssi.NotFound):
            list(self.session.tail("absent", follow=False))
        self.server.become("done")
        self.assertEqual(list(self.session.tail("absent")), [])

    def test_a_file_that_is_cut_short_is_read_from_its_begin(self) -> None:
        self.server.files["log"] = b"before"
        tail = self.session.tail("log")
        self.assertEqual(next(tail), "before")
        self.server.files["log"] = b"new"
        self.server.become("done")
        self.assertEqual(list(tail), ["new"])


class Names(unittest.TestCase):
    def test_a_session_is_made_only_where_the_address_names_it(self) -> None:
        made = session_values.is_made
        address = f"http://h/sandboxes/{SESSION}/"
        self.assertTrue(made("a.b", SESSION, address))
        self.assertTrue(made("session.new", SESSION, None))
        for method, value, url in (("a.b", SESSION, None), ("a.b", SESSION, "http://h/"), ("session.new", "x", None),
                                   ("a.b", [SESSION], address), ("a.b", SESSION, f"http://h/?{SESSION}")):
            self.assertFalse(made(method, value, url))


if __name__ == "__main__":
    unittest.main()

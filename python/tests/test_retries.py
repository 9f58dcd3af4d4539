"""What is sent again, and what never is: reads, calls by their tag, and servers that do not know tags."""

from __future__ import annotations

import io
import socket
import threading
import unittest
from unittest import mock

import fake_server
from test_client import ClientCase

import nesssi
from nesssi import tags


class Tags(ClientCase):
    def test_each_call_that_is_no_read_carries_its_own(self) -> None:
        svr = self.client()
        svr.sleepy.sleepyAdd(1)
        svr.sleepy.sleepyAdd(1)
        svr.job.submit([], 1)
        first, second, third = self.server.tags
        self.assertEqual(len({first, second, third}), 3)
        for tag in (first, second, third):
            self.assertRegex(tag or "", "^[A-Za-z0-9_-]{43}$")
        svr.echo.echo()
        svr.job.status(fake_server.SESSION)
        self.assertEqual(self.server.tags[3:], [None, None])

    def test_one_of_the_callers_own(self) -> None:
        svr = self.client()
        mine = svr.with_tag("run-17")
        self.assertEqual([mine.sleepy.sleepyAdd(1), mine.sleepy.sleepyAdd(1)], [fake_server.SESSION] * 2)
        self.assertEqual((self.server.tags, self.server.carried_out), (["run-17"] * 2, 1))
        svr.sleepy.sleepyAdd(1)
        self.assertNotEqual(self.server.tags[-1], "run-17")
        for wrong in ("", "a b", "ü", "x" * 129, "a\nb", 7):
            with self.subTest(wrong), self.assertRaises(ValueError):
                svr.with_tag(wrong)
        svr.with_tag("x" * 128)

    def test_a_reply_that_is_lost_is_fetched_by_the_tag(self) -> None:
        for rpc in ("xmlrpc", "jsonrpc"):
            self.server.carried_out = 0
            self.server.lose = 2
            session = self.client(rpc=rpc).sleepy.sleepyAdd(1)
            self.assertEqual(session, fake_server.SESSION)
            self.assertEqual(self.server.carried_out, 1)

    def test_a_server_that_knows_no_tags_is_sent_nothing_twice(self) -> None:
        self.server.kept = None
        self.server.lose = 1
        with self.assertRaises(nesssi.ReplyLost):
            self.client().sleepy.sleepyAdd(1)
        self.assertEqual(self.server.carried_out, 1)
        self.server.busy = 1
        with self.assertRaises(nesssi.Unavailable):
            self.client().sleepy.sleepyAdd(1)
        self.assertEqual(self.server.carried_out, 1)

    def test_a_call_that_the_server_lost_is_told_and_not_made_again(self) -> None:
        begin = "the server stopped in the middle of"
        for text, session in (
            (f"{begin} this call: it has made the session {fake_server.SESSION}, and is not carried out again",
             fake_server.SESSION),
            (f"the call is lost: {begin} it. It has made no session, and is not carried out again", None),
        ):
            before = len(self.server.calls)
            with self.assertRaises(nesssi.CallLost) as raised:
                self.client().lost.call(text)
            self.assertEqual((raised.exception.session, raised.exception.text), (session, text))
            self.assertIsInstance(raised.exception, nesssi.Conflict)
            self.assertEqual(len(self.server.calls), before + 1)
        with self.assertRaises(nesssi.Conflict) as raised:
            self.client().lost.call("the luggage is lost")
        self.assertIs(type(raised.exception), nesssi.Conflict)


class Again(ClientCase):
    def test_reads_are_asked_again_and_a_busy_server_is_waited_for(self) -> None:
        svr = self.client()
        self.server.busy = 3
        self.assertEqual(svr.echo.echo(1), [1])
        self.server.busy = 3
        self.assertEqual(svr.sleepy.sleepyAdd(1), fake_server.SESSION)

    def test_as_often_as_is_said_and_no_more(self) -> None:
        svr = self.client()
        for busy, error in ((tags.AGAIN_MAX - 1, None), (tags.AGAIN_MAX, None), (tags.AGAIN_MAX + 1, nesssi.Unavailable)):
            self.server.busy = busy
            if error is None:
                svr.echo.echo()
            else:
                with self.assertRaises(error):
                    svr.echo.echo()

    def test_what_stands_for_itself_is_never_sent_again(self) -> None:
        svr = self.client()
        self.server.busy = 1
        with self.assertRaises(nesssi.Unavailable):
            svr.system.multicall([])
        self.assertEqual(self.server.tags, [None])

    def test_other_faults_are_not(self) -> None:
        svr = self.client()
        for call in (svr.fault.over, svr.fault.refused):
            before = len(self.server.calls)
            with self.assertRaises(nesssi.Fault):
                call()
            self.assertEqual(len(self.server.calls), before + 1)

    def test_pauses_grow_and_differ(self) -> None:
        with mock.patch("nesssi.tags._AGAIN_SECONDS_FIRST", 0.25):
            for _ in range(20):
                pauses = list(tags.pauses(8))
                self.assertEqual(len(pauses), 8)
                self.assertTrue(0.125 <= pauses[0] <= 0.25 and 4 <= pauses[-1] <= 8, pauses)


class Bounds(ClientCase):
    """What a server may send: each of these ends in a word, and not in memory or time."""

    def answered(self, raw: bytes) -> None:
        self.server.raw = raw
        self.client().job.cancel("x")

    def test_answers_that_are_none(self) -> None:
        ok = b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\n"
        bomb = b'<!DOCTYPE r [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><methodResponse>&b;</methodResponse>'
        deep = b"<methodResponse><params><param>" + b"<value><array><data>" * 100_000
        for raw, said in [
            (b"SSH-2.0-OpenSSH\r\n\r\n", "does not speak HTTP"),
            (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n", "more than 128 headers"),
            (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000 + b"\r\n\r\n", "longer than 65536"),
            (b"HTTP/1.1 100 Continue\r\n\r\n" * 20, "not asked"),
            (ok + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n", "two lengths"),
            (ok + b"Content-Length: -5\r\n\r\n", "no number"),
            (ok + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", "not clear"),
            (ok + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", "no length"),
            (ok + b"Transfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n", "longer than it said"),
            (ok + b"Content-Length: %d\r\n\r\n" % len(bomb) + bomb, "document type"),
            (ok + b"Content-Length: %d\r\n\r\n" % len(deep) + deep, "deeper than 256"),
            (ok + b"Content-Length: 300000000\r\n\r\n" + b"x", "connection ended"),
        ]:
            self.server.kept = None
            with self.subTest(said), self.assertRaisesRegex((nesssi.BadReply, nesssi.ReplyLost), said):
                self.answered(raw)

    def test_the_length_of_an_answer(self) -> None:
        reply = b"<methodResponse><params><param><value>x</value></param></params></methodResponse>"
        raw = b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: %d\r\n\r\n%s" % (len(reply), reply)
        for limit in (len(reply) + 1, len(reply), len(reply) - 1):
            with mock.patch("nesssi.core.REPLY_BYTES_MAX", limit):
                if limit >= len(reply):
                    self.answered(raw)
                else:
                    with self.assertRaisesRegex(nesssi.BadReply, "longer than"):
                        self.answered(raw)

    def test_a_server_that_drips_is_not_waited_for_endlessly(self) -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)

        def drip() -> None:
            connection, _ = listener.accept()
            with connection, self.server.context.wrap_socket(connection, server_side=True) as tls:
                tls.recv(4096)
                try:
                    for _ in range(100):
                        tls.sendall(b"H")
                        done.wait(0.05)
                except OSError:
                    pass

        done = threading.Event()
        thread = threading.Thread(target=drip)
        thread.start()
        svr = nesssi.client(f"https://localhost:{listener.getsockname()[1]}/", guest=1, cafile=self.made.path("ca.pem"))
        with mock.patch("nesssi.core.CALL_SECONDS_MAX", 0.3), self.assertRaises(nesssi.TimedOut):
            svr.echo.echo()
        done.set()
        thread.join()

    def test_threads_share_a_client(self) -> None:
        svr = self.client()
        wrong: list[object] = []

        def work(number: int) -> None:
            for _ in range(10):
                if svr.echo.echo(number) != [number]:
                    wrong.append(number)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(wrong, [])
        self.assertLessEqual(self.server.connections, 8)


class Helping(ClientCase):
    def test_nothing_is_asked_until_somebody_looks(self) -> None:
        svr = self.client()
        method = svr.sleepy.sleepyAdd
        repr(method)
        self.assertEqual(self.server.calls, [])
        expected = "sleepy.sleepyAdd(double, double) -> string\n\nthe help of sleepy.sleepyAdd"
        self.assertEqual(method.__doc__, expected)
        count = len(self.server.calls)
        self.assertEqual(svr.sleepy.sleepyAdd.__doc__, expected)
        self.assertEqual(len(self.server.calls), count)

    def test_help_and_completion(self) -> None:
        import pydoc
        import rlcompleter

        svr = self.client()
        page = pydoc.plain(pydoc.render_doc(svr.sleepy.sleepyAdd))
        self.assertIn("the help of sleepy.sleepyAdd", page)
        self.assertIn("sleepyAdd(double, double) -> string", page)
        self.assertEqual(dir(svr.sleepy), ["deep", "sleepyAdd"])
        self.assertLessEqual({"echo", "job", "sleepy", "system", "with_tag"}, set(dir(svr)))
        completer = rlcompleter.Completer({"svr": svr})
        self.assertIn("svr.sleepy.sleepyAdd(", [completer.complete("svr.sleepy.s", 0)])
        self.assertEqual([name for _, name, _ in self.server.calls].count("system.listMethods"), 1)
        self.assertIn("Its methods:\n\n    sleepy.deep.er\n    sleepy.sleepyAdd", svr.sleepy.__doc__)
        self.assertIn("no such method or service", svr.absent.__doc__)

    def test_looking_never_fails(self) -> None:
        svr = self.client()
        self.server.stop()
        self.assertEqual(dir(svr.sleepy), [])
        self.assertIn("the server does not tell (localhost:", svr.sleepy.sleepyAdd.__doc__)
        self.assertIn("A method by its name", nesssi.connection.Method.__doc__.__doc__)


class JsonRpc(ClientCase):
    def test_values_and_faults(self) -> None:
        svr = self.client(rpc="jsonrpc")
        self.assertEqual(svr.echo.echo(1, None, "é", [True], {"a": 1.5}, b"\0", 2**40), [1, None, "é", [True], {"a": 1.5}, b"\0", 2**40])
        self.assertTrue(self.server.bodies[-1].startswith(b'{"jsonrpc":"2.0"'))
        with self.assertRaises(nesssi.OverLimit):
            svr.fault.over()
        with self.assertRaises(nesssi.NoSuchMethod):
            svr.no.such()


class Shown(ClientCase):
    def test_what_a_server_names_does_not_steer_a_terminal(self) -> None:
        from nesssi.progress import Bar

        with mock.patch("sys.stderr", io.StringIO()) as stream:
            Bar(None).bytes("a\x1b]0;evil\x07", 1, 1)
        self.assertNotIn("\x1b", stream.getvalue())


if __name__ == "__main__":
    unittest.main()

"""The client for asyncio: the same, many calls at once, and calls that are given up."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import io
import pathlib
import socket
import tempfile
import time
import unittest
import warnings
from typing import Any, Awaitable, Callable
from unittest import mock

import fake_server
from fake_server import SESSION
from test_client import ClientCase

import nesssi
from nesssi import aio


class AsyncCase(ClientCase):
    def run_with(self, act: Callable[[aio.Client], Awaitable[Any]], **options: Any) -> Any:
        """Runs `act` with a client; whatever it leaves behind is a failure."""
        options = {"cafile": self.made.path("ca.pem"), "guest": 1, **options}
        wrong: list[dict[str, Any]] = []

        async def main() -> Any:
            asyncio.get_running_loop().set_exception_handler(lambda _, context: wrong.append(context))
            async with aio.client(self.server.url, **options) as svr:
                result = await act(svr)
            await asyncio.sleep(0)
            others = asyncio.all_tasks() - {asyncio.current_task()}
            self.assertEqual(others, set())
            return result

        result = asyncio.run(main())
        self.assertEqual(wrong, [])
        return result


class Calls(AsyncCase):
    def test_calls_faults_and_names(self) -> None:
        async def act(svr: aio.Client) -> None:
            self.assertEqual(await svr.echo.echo(1, "é", None), [1, "é", None])
            self.assertEqual(await svr["a.b.c.d"](2), [2])
            with self.assertRaises(nesssi.OverLimit):
                await svr.fault.over()
            self.assertEqual(dir(svr.sleepy), [])
            self.assertEqual(await aio.methods(svr.sleepy), ["sleepy.deep.er", "sleepy.sleepyAdd"])
            self.assertEqual(dir(svr.sleepy), ["deep", "sleepyAdd"])
            self.assertIn("the help of sleepy.sleepyAdd", await aio.help(svr.sleepy.sleepyAdd))
            with self.assertRaises(AttributeError):
                svr._nothing  # noqa: B018

        self.run_with(act)
        self.run_with(act, rpc="jsonrpc")

    def test_a_certificate_and_a_login(self) -> None:
        async def act(svr: aio.Client) -> object:
            return await svr.who.am_i()

        path = self.made.path
        given = {"certfile": path("user.pem"), "keyfile": path("user.key"), "guest": 0}
        self.assertEqual(self.run_with(act, **given), "Alice")
        self.assertEqual(self.run_with(act, do_login=1, **given), "Alice")
        names = [name for _, name, _ in self.server.calls]
        self.assertEqual(names[-3:], ["system.auth2", "who.am_i", "system.logout"])
        self.assertEqual(self.server.logins, {})

    def test_a_hundred_calls_at_once(self) -> None:
        async def act(svr: aio.Client) -> list[Any]:
            return await asyncio.gather(*(svr.echo.echo(number) for number in range(100)))

        with mock.patch("nesssi.core.CONNECTIONS_MAX", 7):
            self.assertEqual(self.run_with(act), [[number] for number in range(100)])
        self.assertLessEqual(self.server.connections, 7)

    def test_one_client_in_two_loops(self) -> None:
        svr = aio.client(self.server.url, guest=1, cafile=self.made.path("ca.pem"))

        async def act() -> None:
            self.assertEqual(await svr.echo.echo(1), [1])

        # What the first loop left open says so when it is collected.
        with contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            asyncio.run(act())
            asyncio.run(act())
            del svr._core._idle[:]
            gc.collect()
        self.assertEqual(self.server.connections, 2)


class GivenUp(AsyncCase):
    def test_a_call_that_is_cancelled_ends_its_connection_alone(self) -> None:
        async def act(svr: aio.Client) -> None:
            await svr.echo.echo("warm")
            task = asyncio.ensure_future(svr.never())
            await asyncio.sleep(0.1)
            task.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await task
            self.server.closed.set()
            self.assertEqual(await svr.echo.echo("well"), ["well"])
            # None of the places is lost with it.
            for _ in range(3):
                with self.assertRaises(asyncio.TimeoutError):
                    await asyncio.wait_for(svr.never(), 0.05)
            self.assertEqual(await svr.echo.echo("well"), ["well"])

        with mock.patch("nesssi.core.CONNECTIONS_MAX", 1):
            self.run_with(act)

    def test_cancelling_at_any_moment_leaves_the_client_well(self) -> None:
        async def act(svr: aio.Client) -> None:
            for step in range(40):
                task = asyncio.ensure_future(svr.echo.echo(step))
                for _ in range(step % 20):
                    await asyncio.sleep(0)
                task.cancel()
                try:
                    self.assertEqual(await task, [step])
                except asyncio.CancelledError:
                    pass
                self.assertEqual(await svr.echo.echo("after", step), ["after", step])

        with mock.patch("nesssi.core.CONNECTIONS_MAX", 1):
            self.run_with(act)

    def test_a_silent_server_and_none(self) -> None:
        async def act(svr: aio.Client) -> None:
            with self.assertRaises(nesssi.TimedOut):
                await svr.never()
            self.server.closed.set()

        self.run_with(act, timeout=0.2)

        async def refused(svr: aio.Client) -> None:
            self.server.stop()
            with self.assertRaises(nesssi.CannotConnect):
                await svr.echo.echo()

        self.run_with(refused)

    def test_a_handshake_that_never_comes(self) -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)
        url = f"https://localhost:{listener.getsockname()[1]}/"

        async def main() -> None:
            svr = aio.client(url, guest=1, cafile=self.made.path("ca.pem"), timeout=0.2)
            with self.assertRaisesRegex(nesssi.CannotConnect, "within the time"):
                await svr.echo.echo()

        asyncio.run(main())

    def test_a_server_that_is_not_trusted(self) -> None:
        async def act(svr: aio.Client) -> None:
            with self.assertRaises(nesssi.ServerNotTrusted):
                await svr.echo.echo()

        self.run_with(act, cafile=self.made.path("other.pem"))


class Sessions(AsyncCase):
    def test_a_session_from_begin_to_end(self) -> None:
        self.server.files = {"stdout": b"one\n", "big": bytes(1_000_000)}
        place = tempfile.TemporaryDirectory()
        self.addCleanup(place.cleanup)
        to = pathlib.Path(place.name)

        async def act(svr: aio.Client) -> None:
            self.server.lose = 1
            session = await svr.sleepy.sleepyAdd(1)
            self.assertIsInstance(session, aio.Session)
            self.assertEqual((session, self.server.carried_out), (SESSION, 1))
            self.assertEqual((await session.status()).state, "running")
            self.assertIn(SESSION, await session.url())
            asyncio.get_running_loop().call_later(0.2, self.server.become, "done")
            pieces = [piece async for piece in session.tail()]
            self.assertEqual("".join(pieces), "one\n")
            self.assertTrue((await session.wait()).ok)
            self.assertEqual([file.path for file in await session.files()], ["big", "stdout"])
            self.server.break_off = [300_000]
            await session.download("big", to=to)
            self.assertEqual((to / "big").read_bytes(), bytes(1_000_000))
            self.assertEqual(await session.read("stdout", 1, 2), b"ne")
            self.assertEqual(await session.upload(b"x" * 200_000, "in"), 200_000)
            self.assertEqual(await session.cancel(), "cancelled")
            self.assertIs(await session.destroy(), True)
            kept = aio.Session(str(session), svr)
            self.assertEqual((await kept.extend(5)).day, 23)

        with mock.patch("nesssi.acts.FOLLOW_SECONDS", 0.05):
            self.run_with(act)

    def test_many_wait_at_once(self) -> None:
        async def act(svr: aio.Client) -> None:
            session = aio.Session(SESSION, svr)
            waits = [asyncio.ensure_future(session.wait()) for _ in range(20)]
            await asyncio.sleep(0.3)
            self.assertFalse(any(wait.done() for wait in waits))
            self.server.become("done")
            self.assertTrue(all(status.ok for status in await asyncio.gather(*waits)))

        self.run_with(act)

    def test_the_time_can_be_up(self) -> None:
        async def act(svr: aio.Client) -> None:
            began = time.monotonic()
            with self.assertRaises(nesssi.WaitTimeout):
                await aio.Session(SESSION, svr).wait(timeout=0.2)
            self.assertLess(time.monotonic() - began, 5)

        self.run_with(act)


if __name__ == "__main__":
    unittest.main()

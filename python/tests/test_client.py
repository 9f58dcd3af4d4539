"""The client, against an XML-RPC server over TLS on loopback."""

from __future__ import annotations

import contextlib
import datetime
import gc
import io
import os
import pathlib
import tempfile
import unittest
import warnings
from unittest import mock

import fake_server

import Clarens
import ClarensDpe as Nesssi
import nesssi
from nesssi import credentials


class ClientCase(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        directory = tempfile.TemporaryDirectory()
        cls.addClassCleanup(directory.cleanup)
        cls.made = fake_server.Credentials(pathlib.Path(directory.name))
        sooner = mock.patch("nesssi.tags._AGAIN_SECONDS_FIRST", 0.01)
        sooner.start()
        cls.addClassCleanup(sooner.stop)

    def setUp(self) -> None:
        self.server = fake_server.Server(self.made)
        self.addCleanup(self.server.stop)

    def client(self, **options: object) -> nesssi.connection.Client:
        options.setdefault("cafile", self.made.path("ca.pem"))
        options.setdefault("guest", 1)
        client = nesssi.client(self.server.url, **options)
        self.addCleanup(client.__exit__)
        return client


class Calls(ClientCase):
    def test_any_dotted_path_is_a_method(self) -> None:
        svr = self.client(debug=0)
        self.assertEqual(svr.a.b.c.d(1, "x"), [1, "x"])
        self.assertEqual(svr["a.b.c.d"](), [])
        self.assertEqual([path for path, _, _ in self.server.calls], ["/clarens/"] * 2)
        with self.assertRaises(AttributeError):
            svr._no_method  # noqa: B018
        self.assertEqual(repr(svr.a.b), f"<method a.b of {self.server.url}>")

    def test_one_of_several_accounts_is_asked_for(self) -> None:
        self.assertEqual(self.client(account="grid01").which.account(), ["grid01"])
        self.assertEqual(self.client().which.account(), [])

    def test_values_go_there_and_back(self) -> None:
        svr = self.client()
        moment = datetime.datetime(2006, 11, 22, 12, 0)
        values = [1, -(2**31), True, 1.5, "é <&> ]]>", None, b"\0\xff", moment]
        values += [[1, [2]], {"k": {"": []}}, 1e-300]
        self.assertEqual(svr.echo.echo(*values), values)

    def test_a_carriage_return_stays_one(self) -> None:
        self.client().echo.echo("a\r\nb")
        self.assertIn(b"a&#13;\nb", self.server.bodies[-1])

    def test_large_integers_go_as_i8(self) -> None:
        svr = self.client()
        with self.assertRaises(nesssi.ReplyLost):  # Python's own server cannot answer them
            svr.echo.echo(2**40)
        self.assertIn(b"<i8>1099511627776</i8>", self.server.bodies[-1])

    def test_what_cannot_be_sent_is_refused_before(self) -> None:
        svr = self.client()
        for value in (2**63, "\0", "\ud800", float("nan"), object(), {1: 2}):
            with self.subTest(repr(value)), self.assertRaises((OverflowError, ValueError, TypeError)):
                svr.echo.echo(value)
        self.assertEqual(self.server.calls, [])

    def test_faults(self) -> None:
        svr = self.client()
        for method, code, text in [
            (svr.fault.over, 413, "asked for 2, the limit is 1"),
            (svr.fault.refused, 403, "certificate expired"),
            (svr.fault.html, 502, "the server's answer is HTTP 502 Bad Gateway, and no XML-RPC"),
        ]:
            with self.assertRaises(nesssi.Fault) as raised:
                method()
            fault = raised.exception
            self.assertEqual((fault.code, fault.text), (code, text))
            self.assertEqual((fault.faultCode, fault.faultString), (code, text))
            self.assertEqual(str(fault), f"fault {code}: {text}")
        with self.assertRaisesRegex(ValueError, "no XML-RPC reply"):
            svr.fault.nonsense()

    def test_debug_shows_what_goes_and_comes(self) -> None:
        shown = io.StringIO()
        with contextlib.redirect_stderr(shown):
            self.client(debug=1).echo.echo("seen")
        self.assertEqual(shown.getvalue().count("seen"), 2)

    def test_the_names_of_the_original(self) -> None:
        for module in (Nesssi, Clarens):
            options = {"debug": 0, "guest": 1, "cafile": self.made.path("ca.pem")}
            old = {"do_login": 0, "progress_cb": None, "rpc": "jsonrpc", "callback": None, "async": 0}
            with module.client(self.server.url, **options, **old) as svr:
                self.assertEqual(svr.echo.echo("hello"), ["hello"])

    def test_wrong_options_and_addresses(self) -> None:
        for url in ("http://localhost/clarens/", "localhost", "https:///x", "https://a:b@c/", ""):
            with self.subTest(url), self.assertRaises(ValueError):
                nesssi.client(url, guest=1)
        for error, options in [(TypeError, {"colour": 1}), (ValueError, {"async": 1}),
                               (ValueError, {"rpc": "soap"})]:
            with self.subTest(options), self.assertRaises(error):
                nesssi.client("https://localhost/", guest=1, **options)


class Logins(ClientCase):
    """`do_login`, as programs from before use it (and `nesssi` need not)."""

    def logged_in(self, module: object = Nesssi, **options: object) -> nesssi.connection.Client:
        path = self.made.path
        options = {"cafile": path("ca.pem"), "do_login": 1, **options}
        client = module.client(self.server.url, path("user.pem"), path("user.key"), **options)
        self.addCleanup(client.__exit__)
        return client

    def test_later_calls_stand_on_the_new_password(self) -> None:
        for module in (Nesssi, Clarens, nesssi):
            del self.server.basics[:], self.server.calls[:]
            svr = self.logged_in(module)
            self.assertEqual(svr.echo.echo("hello"), ["hello"])
            self.assertEqual(svr.who.am_i(), "Alice")
            (token, asked), *later = self.server.basics
            self.assertEqual(asked, "BROWSER")
            self.assertRegex(token, "^[0-9a-f]{40}$")
            self.assertEqual(later, [(token, self.server.logins[token])] * 2)
            names = [name for _, name, _ in self.server.calls]
            self.assertEqual(names, ["system.auth2", "echo.echo", "who.am_i"])
        self.assertEqual(len(self.server.logins), 3)

    def test_it_ends_with_the_client_and_once(self) -> None:
        with self.logged_in() as svr:
            self.assertEqual(len(self.server.logins), 1)
        self.assertEqual(self.server.logins, {})
        svr.echo.echo("after")
        self.assertIsNone(self.server.basics[-1])
        svr = self.logged_in()
        self.assertIs(svr.system.logout(), True)
        self.assertEqual(self.server.logins, {})
        svr.__exit__()
        self.assertEqual([name for _, name, _ in self.server.calls].count("system.logout"), 2)

    def test_a_client_that_is_forgotten_logs_out(self) -> None:
        options = {"cafile": self.made.path("ca.pem"), "do_login": 1}
        Nesssi.client(self.server.url, self.made.path("proxy.pem"), **options)
        gc.collect()
        self.assertEqual(self.server.calls[-1][1], "system.logout")
        self.assertEqual(self.server.logins, {})

    def test_a_server_that_is_gone_does_not_keep_it(self) -> None:
        svr = self.logged_in()
        svr.closes.after()
        self.server.stop()
        svr.__exit__()
        self.assertIsNone(svr._core.login)

    def test_without_it_nothing_is_said(self) -> None:
        self.client(guest=1, do_login=1).echo.echo("a guest")
        self.logged_in(do_login=0).echo.echo("by the certificate")
        self.assertEqual(self.server.basics, [None, None])

    def test_a_login_that_is_refused_is_raised(self) -> None:
        answer = "answer_system_auth2"
        refuse = mock.Mock(side_effect=lambda handler: handler.answer_fault_refused())
        for reply, error in [
            (lambda handler: handler.answer_fault_refused(), nesssi.Fault),
            (lambda handler: handler.say("no list"), ValueError),
        ]:
            refuse.side_effect = reply
            with mock.patch.object(fake_server._Handler, answer, lambda handler: refuse(handler)):
                with self.assertRaises(error):
                    self.logged_in()

    def test_debug_shows_no_secret(self) -> None:
        shown = io.StringIO()
        with contextlib.redirect_stderr(shown):
            with self.logged_in(debug=1) as svr:
                svr.echo.echo("seen")
        self.assertIn("seen", shown.getvalue())
        self.assertNotIn("secret of", shown.getvalue())
        self.assertNotIn(self.server.basics[-1][0], shown.getvalue())


class Connections(ClientCase):
    def test_one_connection_serves_many_calls(self) -> None:
        svr = self.client()
        for number in range(5):
            self.assertEqual(svr.echo.echo(number), [number])
        self.assertEqual(self.server.connections, 1)

    def test_a_connection_that_ended_between_calls_is_made_anew(self) -> None:
        svr = self.client()
        for method in (svr.drop.after, svr.closes.after):
            method()
            self.assertTrue(self.server.closed.wait(5))
            self.server.closed.clear()
            self.assertEqual(svr.echo.echo("again"), ["again"])
        self.assertGreaterEqual(self.server.connections, 3)
        self.assertEqual(len(self.server.calls), 4)

    def test_a_call_whose_reply_is_lost_is_never_made_again_where_tags_are_not_known(self) -> None:
        svr = self.client()
        self.server.kept = None
        for warm in (False, True):
            if warm:
                svr.echo.echo("warm")
            with self.assertRaisesRegex(nesssi.ReplyLost, "may have been carried out") as raised:
                svr.drop.before()
            self.assertIn(raised.exception.tag, self.server.tags)
            names = [name for _, name, _ in self.server.calls]
            self.assertEqual(names.count("drop.before"), 1 + warm, names)
        self.assertEqual(names.count("system.last_call"), 1)
        self.assertEqual(svr.echo.echo("well"), ["well"])

    def test_a_silent_server_is_not_waited_for_endlessly(self) -> None:
        svr = self.client(timeout=0.2)
        with self.assertRaisesRegex(nesssi.TimedOut, "within the time"):
            svr.never()
        self.server.closed.set()

    def test_no_server_is_an_error_at_once(self) -> None:
        svr = self.client()
        self.server.stop()
        with self.assertRaisesRegex(nesssi.CannotConnect, r"localhost:\d+: connection refused; is the server"):
            svr.echo.echo()


class Trust(ClientCase):
    def test_a_server_of_an_unknown_authority_is_refused(self) -> None:
        svr = self.client(cafile=self.made.path("other.pem"))
        with self.assertRaisesRegex(nesssi.ServerNotTrusted, "localhost:.*X509_CERT_DIR"):
            svr.echo.echo()
        self.assertEqual(self.server.calls, [])

    def test_a_server_of_another_name_is_refused(self) -> None:
        stranger = fake_server.Server(self.made, "stranger")
        self.addCleanup(stranger.stop)
        svr = nesssi.client(stranger.url, guest=1, cafile=self.made.path("ca.pem"))
        with self.assertRaisesRegex(nesssi.ServerNotTrusted, "ostname.*by a name"):
            svr.echo.echo()

    def test_where_the_trusted_are_found(self) -> None:
        with tempfile.TemporaryDirectory() as directory:
            ca = pathlib.Path(self.made.path("ca.pem")).read_text()
            pathlib.Path(directory, "12345678.0").write_text(ca)
            pathlib.Path(directory, "12345678.signing_policy").write_text("not a certificate")
            for variables in ({"NESSSI_CA": self.made.path("ca.pem")}, {"NESSSI_CA": directory},
                              {"X509_CERT_DIR": directory}):
                with self.subTest(variables), mock.patch.dict(os.environ, variables):
                    self.assertEqual(self.client(cafile=None).echo.echo(1), [1])
            self.assertEqual(self.client(cafile=directory).echo.echo(1), [1])
        with self.assertRaises(FileNotFoundError):
            self.client(cafile="/no/such/file")


class Certificates(ClientCase):
    def setUp(self) -> None:
        super().setUp()
        home = tempfile.TemporaryDirectory()
        self.addCleanup(home.cleanup)
        self.home = pathlib.Path(home.name)
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("X509_", "NESSSI_"))}
        changed = mock.patch.dict(os.environ, {**kept, "HOME": home.name}, clear=True)
        changed.start()
        self.addCleanup(changed.stop)
        # No user has this number: the machine's own /tmp/x509up_u<uid> stays out of the test.
        self.uid = 4_000_000_000 - os.getpid()
        renamed = mock.patch("nesssi.credentials.os.getuid", return_value=self.uid)
        renamed.start()
        self.addCleanup(renamed.stop)

    def who(self, **options: object) -> object:
        return self.client(guest=0, **options).who.am_i()

    def test_given_files_and_texts(self) -> None:
        path = self.made.path
        texts = {name: pathlib.Path(path(name)).read_text() for name in ("user.pem", "user.key")}
        for options in (
            {"certfile": path("user.pem"), "keyfile": path("user.key")},
            {"certfile": path("proxy.pem")},
            {"cert_text": texts["user.pem"], "key_text": texts["user.key"]},
            {"cert_text": texts["user.pem"] + texts["user.key"]},
            {"certfile": path("user.pem"), "keyfile": path("locked.key"),
             "passwd": fake_server.PASSPHRASE},
            {"certfile": path("user.pem"), "keyfile": path("locked.key"),
             "callback": lambda: fake_server.PASSPHRASE},
        ):
            with self.subTest(sorted(options)):
                self.assertEqual(self.who(**options), "Alice")

    def test_a_guest_shows_none_even_if_there_is_one(self) -> None:
        with mock.patch.dict(os.environ, {"X509_USER_PROXY": self.made.path("proxy.pem")}):
            self.assertIsNone(self.client(guest=1).who.am_i())
            self.assertEqual(self.who(), "Alice")

    def test_certificate_and_key_named_by_the_environment(self) -> None:
        names = {"X509_USER_CERT": "user.pem", "X509_USER_KEY": "user.key"}
        with mock.patch.dict(os.environ, {k: self.made.path(v) for k, v in names.items()}):
            self.assertEqual(self.who(), "Alice")

    def test_the_proxy_in_tmp_must_be_ours_alone(self) -> None:
        proxy = pathlib.Path(f"/tmp/x509up_u{self.uid}")
        self.addCleanup(proxy.unlink)
        proxy.touch(0o600)
        proxy.write_text(pathlib.Path(self.made.path("proxy.pem")).read_text())
        self.assertEqual(self.who(), "Alice")
        proxy.chmod(0o644)
        with warnings.catch_warnings(record=True) as caught, self.assertRaises(FileNotFoundError):
            warnings.simplefilter("always")
            self.who()
        self.assertIn("mode 0600", str(caught[0].message))
        proxy.unlink()
        proxy.symlink_to(self.made.path("proxy.pem"))
        with self.assertWarns(UserWarning), self.assertRaises(FileNotFoundError):
            self.who()

    def test_the_globus_directory(self) -> None:
        globus = self.home / ".globus"
        globus.mkdir()
        for name, target in (("usercert.pem", "user.pem"), ("userkey.pem", "user.key")):
            (globus / name).symlink_to(self.made.path(target))
        self.assertEqual(self.who(), "Alice")

    def test_none_at_all_says_where_it_looked(self) -> None:
        with self.assertRaisesRegex(FileNotFoundError, "x509up_u.*usercert.pem.*guest=1"):
            self.who()

    def test_bad_files_are_named(self) -> None:
        with self.assertRaisesRegex(FileNotFoundError, "/no/such"):
            self.who(certfile="/no/such")
        path = self.made.path
        for options in (
            {"certfile": path("user.csr")},
            {"certfile": path("user.pem"), "keyfile": path("other.key")},
            {"certfile": path("user.pem"), "keyfile": path("locked.key"), "passwd": "wrong"},
        ):
            with self.subTest(options), self.assertRaisesRegex(ValueError, "cannot be used: .*user"):
                self.who(**options)
        with self.assertRaisesRegex(ValueError, "give passwd or callback"):
            self.who(certfile=path("user.pem"), keyfile=path("locked.key"))

    def test_keys_that_others_may_read_are_refused(self) -> None:
        loose = self.home / "loose.key"
        loose.write_text(pathlib.Path(self.made.path("user.key")).read_text())
        for mode in (0o644, 0o640, 0o604, 0o660):
            loose.chmod(mode)
            with self.subTest(oct(mode)), self.assertRaisesRegex(nesssi.CredentialError, "chmod 600 .*loose.key"):
                self.who(certfile=self.made.path("user.pem"), keyfile=loose)
        for mode in (0o600, 0o400):
            loose.chmod(mode)
            self.assertEqual(self.who(certfile=self.made.path("user.pem"), keyfile=loose), "Alice")

    def test_pkcs12_is_told_how_to_convert(self) -> None:
        globus = self.home / ".globus"
        globus.mkdir()
        (globus / "usercred.p12").write_bytes(b"\x30\x82\x01\x02junk")
        for options in ({}, {"certfile": str(globus / "usercred.p12")}):
            with self.assertRaisesRegex(nesssi.CredentialError, "openssl pkcs12 -in .*usercred.p12 -clcerts"):
                self.who(**options)

    def test_a_pass_phrase_is_asked_for_once_in_a_process(self) -> None:
        asked: list[tuple[object, ...]] = []

        def callback(*arguments: object) -> str:
            asked.append(arguments)
            return fake_server.PASSPHRASE

        def as_the_original(twice: int) -> str:
            return callback(twice)

        files = {"certfile": self.made.path("user.pem"), "keyfile": self.made.path("locked.key")}
        with mock.patch.dict(credentials._remembered, clear=True):
            svr = self.client(guest=0, callback=callback, **files)
            self.assertEqual(svr.who.am_i(), "Alice")
            svr.close()
            self.assertEqual(svr.who.am_i(), "Alice")
            self.assertEqual(self.who(**files), "Alice")
            self.assertEqual(asked, [()])
            credentials._remembered.clear()
            self.assertEqual(self.who(callback=as_the_original, **files), "Alice")
            self.assertEqual(asked[1:], [(0,)])

    def test_a_wrong_pass_phrase_is_asked_for_thrice(self) -> None:
        files = {"certfile": self.made.path("user.pem"), "keyfile": self.made.path("locked.key")}
        for answers, well in ((["a", "", fake_server.PASSPHRASE], True), (["a", "b", "c", fake_server.PASSPHRASE], False)):
            given = iter(answers)
            with mock.patch.dict(credentials._remembered, clear=True):
                if well:
                    self.assertEqual(self.who(callback=lambda: next(given), **files), "Alice")
                else:
                    with self.assertRaises(nesssi.WrongPassphrase):
                        self.who(callback=lambda: next(given), **files)
                    self.assertEqual(next(given), fake_server.PASSPHRASE)

    def test_a_terminal_is_asked_by_getpass(self) -> None:
        files = {"certfile": self.made.path("user.pem"), "keyfile": self.made.path("locked.key")}
        stdin = mock.Mock(**{"isatty.return_value": True})
        asked = mock.Mock(side_effect=["wrong", fake_server.PASSPHRASE])
        with mock.patch.dict(credentials._remembered, clear=True), mock.patch("sys.stdin", stdin), \
                mock.patch("nesssi.credentials.getpass.getpass", asked), mock.patch("sys.stderr", io.StringIO()):
            self.assertEqual(self.who(**files), "Alice")
        self.assertEqual(asked.call_count, 2)
        self.assertIn("locked.key", asked.call_args[0][0])

    def test_an_end_that_is_near_is_warned_about(self) -> None:
        text = pathlib.Path(self.made.path("user.pem")).read_bytes()
        begin, end = credentials.validity(text) or (0, 0)
        self.assertAlmostEqual(end - begin, 2 * 86400, delta=120)
        files = {"certfile": self.made.path("user.pem"), "keyfile": self.made.path("user.key")}
        for now, said in ((end - 17281, None), (end - 17279, "expires on"), (end + 1, "expired on")):
            with mock.patch("nesssi.credentials.time.time", return_value=now), \
                    warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                self.client(guest=0, **files)
            self.assertEqual(len(caught), 0 if said is None else 1)
            if said:
                self.assertIs(caught[0].category, nesssi.CredentialWarning)
                self.assertIn(said, str(caught[0].message))
                self.assertEqual(pathlib.Path(caught[0].filename).name, "test_client.py")

    def test_a_proxy_that_is_renewed_is_taken_up(self) -> None:
        proxy = self.home / "proxy"
        proxy.touch(0o600)
        proxy.write_text(pathlib.Path(self.made.path("proxy.pem")).read_text())
        svr = self.client(guest=0, certfile=str(proxy))
        self.assertEqual(svr.who.am_i(), "Alice")
        other = [pathlib.Path(self.made.path(name)).read_text() for name in ("stranger.pem", "stranger.key")]
        proxy.write_text("".join(other))
        svr.close()
        self.assertEqual(svr.who.am_i(), "elsewhere")

    def test_the_order(self) -> None:
        with mock.patch.dict(os.environ, {"X509_USER_PROXY": "/p", "X509_USER_CERT": "/c"}):
            self.assertEqual(credentials.find("/given")[:2], ("/given", "/given"))
            self.assertEqual(credentials.find()[:2], ("/p", "/p"))
            del os.environ["X509_USER_PROXY"]
            self.assertEqual(credentials.find()[:2], ("/c", "/c"))


if __name__ == "__main__":
    unittest.main()

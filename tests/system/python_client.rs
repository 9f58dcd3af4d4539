//! The Python package as its users have it: real scripts against a real server, with the oldest and the newest
//! Python that are here.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nesssi_testkit::{Credential, Place, ProxyPolicy, World, repository, skipped};

/// `run(seconds, script)` starts a shell script; `made(n)` counts how often it was carried out.
const RUN: &str = "from nesssi import run_job\n\
    def run(req, method_name, args):\n    \
    'Runs a script.'\n    \
    return run_job(req, method_name, [args[0]], ['/bin/sh', '-c', args[1]])\n\
    methods_list = {'run': run}\n";

/// What every script begins with: `svr(**options)` is a client of the World's server.
const BEGIN: &str = "import os, sys, warnings, nesssi, nesssi.aio\n\
    warnings.simplefilter('ignore', nesssi.CredentialWarning)\n\
    url, ca, alice, alice_key, place = sys.argv[1:6]\n\
    def svr(client=nesssi.client, **options):\n    \
    options.setdefault('certfile', alice)\n    \
    options.setdefault('keyfile', alice_key)\n    \
    return client(url, cafile=ca, **options)\n";

fn world() -> World {
    let mut world = World::builder().build();
    world.service("t", RUN, None);
    world.start_server();
    world
}

/// The Pythons to try: the system's, and the oldest and the newest of those that pyenv has.
fn pythons() -> Vec<PathBuf> {
    let mut found = vec![PathBuf::from("/usr/bin/python3")];
    let variable = |name| std::env::var_os(name).map(PathBuf::from);
    let pyenv = variable("PYENV_ROOT").or_else(|| Some(variable("HOME")?.join(".pyenv")));
    let versions = pyenv.map(|root| root.join("versions").read_dir());
    let versions = versions.into_iter().flatten().flatten().flatten();
    let mut versions: Vec<PathBuf> = versions.map(|entry| entry.path()).collect();
    versions.sort();
    for wanted in ["3.9.", "3.13."] {
        let of = |path: &&PathBuf| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(wanted))
        };
        found.extend(versions.iter().filter(of).map(|path| path.join("bin/python3")).next());
    }
    found
}

/// A script under way, as the holder of Alice's certificate.
fn start(world: &World, python: &Path, code: &str, place: &Path) -> Child {
    Command::new(python)
        .args(["-c", &format!("{BEGIN}{code}"), &world.url])
        .arg(world.grid.ca_file())
        .args([&world.alice.certificate, &world.alice.key])
        .arg(place)
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("HOME", place)
        .env("PYTHONPATH", repository().join("python"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// What a script printed; its complaints, if it failed.
fn finish(child: Child) -> String {
    let done = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success(), "{text}{}", String::from_utf8_lossy(&done.stderr));
    text
}

/// Runs a script with each Python, in a folder of its own.
fn run(world: &World, code: &str) {
    for python in pythons() {
        let place = Place::new();
        let text = finish(start(world, &python, code, place.path()));
        assert!(text.ends_with("well\n"), "{}: {text}", python.display());
    }
}

#[test]
fn certificates_as_grid_tools_leave_them() {
    let world = world();
    let place = Place::new();
    let locked = place.path().join("locked.pem");
    let openssl = |words: &[&str]| {
        let done = Command::new("openssl").args(words).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    };
    let key = world.alice.key.to_str().unwrap();
    openssl(&[
        "pkey",
        "-in",
        key,
        "-aes128",
        "-passout",
        "pass:secret",
        "-out",
        locked.to_str().unwrap(),
    ]);
    let proxy = world.grid.proxy(&world.alice, ProxyPolicy::InheritAll);
    let both = one_file(&proxy, &place.path().join("proxy"));
    let code = format!(
        "import stat\n\
         dn = svr().system.whoami()['dn']\n\
         assert dn.endswith('/CN=Alice'), dn\n\
         asked = []\n\
         def callback():\n    asked.append(1)\n    return 'wrong' if len(asked) == 1 else 'secret'\n\
         locked, proxy = {locked:?}, {both:?}\n\
         os.chmod(locked, 0o600)\n\
         one = svr(keyfile=locked, callback=callback)\n\
         assert one.system.whoami()['dn'] == dn\n\
         one.close()\n\
         assert one.system.whoami()['dn'] == dn and len(asked) == 2, asked\n\
         assert svr(keyfile=locked).system.whoami()['level'] == 'strong'\n\
         os.environ['X509_USER_PROXY'] = proxy\n\
         me = svr(certfile=None, keyfile=None).system.whoami()\n\
         assert (me['dn'], me['proxy'], me['level']) == (dn, 'full', 'strong'), me\n\
         del os.environ['X509_USER_PROXY']\n\
         os.mkdir(os.path.expanduser('~/.globus'))\n\
         for name, path in (('usercert.pem', alice), ('userkey.pem', alice_key)):\n    \
         os.symlink(path, os.path.expanduser('~/.globus/' + name))\n\
         assert svr(certfile=None, keyfile=None).system.whoami()['dn'] == dn\n\
         guest = svr(certfile=None, keyfile=None, guest=1)\n\
         assert guest.system.whoami()['level'] == 'anonymous'\n\
         try:\n    guest.job.list()\nexcept nesssi.CredentialNeeded as fault:\n    assert fault.code == 401\n\
         old = svr(do_login=1, rpc='jsonrpc')\n\
         assert old.system.whoami()['dn'] == dn\n\
         old.close()\n\
         print('well')\n"
    );
    run(&world, &code);
}

/// A certificate and its key in one file that its owner alone may read, as a proxy is kept.
fn one_file(credential: &Credential, path: &Path) -> PathBuf {
    let texts = [&credential.certificate, &credential.key]
        .map(|path| std::fs::read_to_string(path).unwrap());
    // The leaf, its key, then the chain.
    let end = "-----END CERTIFICATE-----\n";
    let at = texts[0].find(end).unwrap() + end.len();
    let (leaf, chain) = texts[0].split_at(at);
    std::fs::write(path, format!("{leaf}{}{chain}", texts[1])).unwrap();
    let only_owner = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(path, only_owner).unwrap();
    path.to_owned()
}

/// A proxy of Rosa's, `x509up`, as the grid's own tool makes it, and one of the oldest family, limited, `old`, beside
/// it; nothing where the tool is not here. The server is to be started later: it has to trust her authority.
pub(crate) fn proxy_of_grid_proxy_init(world: &World, place: &Path) -> Option<PathBuf> {
    // The tool knows RSA alone, so its user has an authority of his own.
    let trusted = world.grid.trust_directory();
    let script = format!(
        "set -e; cd {place}
        openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -subj '/O=RSA Grid/CN=CA' -days 2 -out ca.pem
        openssl req -newkey rsa:2048 -nodes -keyout user.key -subj '/O=RSA Grid/CN=Rosa' -out user.csr
        printf 'keyUsage=critical,digitalSignature,keyEncipherment\\n' > user.ext
        openssl x509 -req -in user.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile user.ext -out user.pem
        chmod 600 user.key
        hash=$(openssl x509 -in ca.pem -noout -hash)
        cp ca.pem {trusted}/$hash.0
        printf \"access_id_CA X509 '/O=RSA Grid/CN=CA'\\npos_rights globus CA:sign\\ncond_subjects globus '\\\"/O=RSA Grid/*\\\"'\\n\" > {trusted}/$hash.signing_policy
        X509_CERT_DIR={trusted} grid-proxy-init -q -rfc -bits 2048 -cert user.pem -key user.key -out x509up
        X509_CERT_DIR={trusted} grid-proxy-init -q -old -limited -bits 2048 -cert user.pem -key user.key -out old",
        place = place.display(),
        trusted = trusted.display(),
    );
    if !Path::new("/usr/bin/grid-proxy-init").exists() {
        skipped("grid-proxy-init is not here");
        return None;
    }
    let made = Command::new("/bin/sh").args(["-c", &script]).stdin(Stdio::null()).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    Some(place.join("x509up"))
}

#[test]
fn a_proxy_of_grid_proxy_init_is_found_and_taken() {
    let mut world = World::builder().build();
    let place = Place::new();
    let Some(proxy) = proxy_of_grid_proxy_init(&world, place.path()) else { return };
    world.start_server();
    let code = format!(
        "os.environ['X509_USER_PROXY'] = {proxy:?}\n\
         me = svr(certfile=None, keyfile=None).system.whoami()\n\
         assert (me['dn'], me['proxy'], me['level']) == ('/O=RSA Grid/CN=Rosa', 'full', 'weak'), me\n\
         print('well')\n"
    );
    run(&world, &code);
}

#[test]
fn methods_show_their_help_and_errors_their_class() {
    let world = world();
    run(
        &world,
        "import pydoc\n\
         s = svr()\n\
         assert 'Runs a script.' in pydoc.render_doc(s.t.run), pydoc.render_doc(s.t.run)\n\
         assert 'run' in dir(s.t) and 'whoami' in dir(s.system)\n\
         for call, kind in ((s.t.absent, nesssi.NoSuchMethod), (lambda: s.t.run(10 ** 9, 'true'), nesssi.OverLimit),\n        \
         (lambda: s.job.status('0' * 32), nesssi.NotFound), (lambda: s.system.methodHelp(), nesssi.InvalidParams)):\n    \
         try:\n        call()\n    except kind:\n        continue\n    \
         raise AssertionError(kind)\n\
         other = url.replace('localhost', '127.0.0.1').rsplit(':', 1)[0] + ':1/'\n\
         try:\n    nesssi.client(other, guest=1, cafile=ca).echo.echo()\n\
         except nesssi.CannotConnect as wrong:\n    assert wrong.port == 1 and wrong.advice, wrong\n\
         try:\n    nesssi.client(url, guest=1, cafile='/etc/ssl/certs').echo.echo()\n\
         except nesssi.ServerNotTrusted as wrong:\n    assert 'X509_CERT_DIR' in str(wrong)\n\
         print('well')\n",
    );
}

#[test]
fn files_go_both_ways_and_a_download_goes_on_where_it_broke_off() {
    let world = world();
    run(
        &world,
        "import hashlib\n\
         s = svr()\n\
         script = 'head -c 52428800 /dev/urandom > big; mkdir -p d/e; echo x > \"d/e/a b\"; sha256sum big; echo y > .hidden; sleep 3'\n\
         session = s.t.run(60, script)\n\
         assert isinstance(session, nesssi.Session) and session in session.url\n\
         status = session.wait(60)\n\
         assert status.ok, status\n\
         assert [f.path for f in session.files(recursive=True)] == ['big', 'd', 'd/e', 'd/e/a b', 'stderr', 'stdout']\n\
         class Enough(Exception): pass\n\
         def enough(path, done, total):\n    if done > 20_000_000: raise Enough\n\
         target = os.path.join(place, 'all')\n\
         os.mkdir(target)\n\
         try:\n    session.download('big', to=target, progress=enough)\n    raise AssertionError\nexcept Enough: pass\n\
         assert os.listdir(target) != ['big']\n\
         seen = []\n\
         session.download(to=target, progress=lambda path, done, total: seen.append((path, done, total)))\n\
         first = [done for path, done, total in seen if path == 'big'][0]\n\
         assert 20_000_000 < first < 22_000_000, first\n\
         data = open(os.path.join(target, 'big'), 'rb').read()\n\
         assert len(data) == 52428800\n\
         assert hashlib.sha256(data).hexdigest() == session.read('stdout').split()[0].decode()\n\
         assert sorted(os.listdir(target)) == ['big', 'd', 'stderr', 'stdout'], os.listdir(target)\n\
         assert session.read('big', 1000, 10) == data[1000:1010]\n\
         assert s.file.read(session + '/big', 1000, 10) == data[1000:1010]\n\
         s.file.mkdir(session + '/in')\n\
         assert session.upload(data[:3_000_000], 'in/up') == 3_000_000\n\
         assert session.upload(os.path.join(target, 'stdout'), 'in/up') == len(session.read('stdout'))\n\
         assert session.read('in/up') == session.read('stdout')\n\
         for path in ('absent', 'd/absent'):\n    \
         try:\n        session.download(path, to=place)\n        raise AssertionError\n    except nesssi.NotFound: pass\n\
         assert nesssi.Session(str(session), svr(certfile=None, keyfile=None, guest=1)).read('d/e/a b') == b'x\\n'\n\
         print('well')\n",
    );
}

#[test]
fn a_job_is_followed_and_cancelled() {
    let world = world();
    run(
        &world,
        "s = svr()\n\
         session = s.t.run(20, 'for i in 1 2 3; do echo $i; sleep 0.4; done')\n\
         assert ''.join(session.tail()) == '1\\n2\\n3\\n'\n\
         assert session.status().ok\n\
         assert list(session.tail(follow=False, start=-2, binary=True)) == [b'3\\n']\n\
         session = s.t.run(20, 'sleep 100')\n\
         try:\n    session.wait(0.2)\n    raise AssertionError\nexcept nesssi.WaitTimeout as wrong:\n    assert wrong.status.state in ('queued', 'running')\n\
         assert session.cancel() == 'cancelled'\n\
         assert session.wait(10).state == 'cancelled'\n\
         print('well')\n",
    );
}

#[test]
fn a_wait_and_a_tail_outlive_a_restart_of_the_server() {
    let mut world = world();
    let code = "import threading, faulthandler\n\
        faulthandler.dump_traceback_later(200, exit=True)\n\
        s = svr()\n\
        session = s.t.run(20, 'echo begun; while [ ! -e go ]; do sleep 0.1; done; echo ended')\n\
        texts = []\n\
        follow = threading.Thread(target=lambda: texts.extend(session.tail()))\n\
        follow.start()\n\
        print('waiting', flush=True)\n\
        sys.stdin.readline()\n\
        threading.Timer(1.5, lambda: session.upload(b'', 'go')).start()\n\
        status = session.wait(60)\n\
        follow.join()\n\
        assert status.ok and ''.join(texts) == 'begun\\nended\\n', (status, texts)\n\
        print('well')\n";
    let place = Place::new();
    let mut child = start_with_input(&world, code, place.path());
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    assert_eq!(line, "waiting\n");
    drop(child.stdin.take()); // and now it waits for the end
    world.stop_server();
    std::thread::sleep(std::time::Duration::from_secs(1));
    world.start_server();
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    let text = finish(child);
    assert!(rest.ends_with("well\n"), "{rest}{text}");
}

fn start_with_input(world: &World, code: &str, place: &Path) -> Child {
    Command::new("/usr/bin/python3")
        .args(["-c", &format!("{BEGIN}{code}"), &world.url])
        .arg(world.grid.ca_file())
        .args([&world.alice.certificate, &world.alice.key])
        .arg(place)
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("PYTHONPATH", repository().join("python"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn a_hundred_calls_of_asyncio_at_once() {
    let world = world();
    run(
        &world,
        "import asyncio, threading\n\
         async def main():\n    \
         async with svr(nesssi.aio.client) as s:\n        \
         answers = await asyncio.gather(*(s.echo.echo(n) for n in range(100)))\n        \
         assert answers == [[n] for n in range(100)], answers\n        \
         sessions = await asyncio.gather(*(s.t.run(5, f'echo {n}') for n in range(10)))\n        \
         ends = await asyncio.gather(*(one.wait(60) for one in sessions))\n        \
         assert all(end.ok for end in ends), ends\n        \
         texts = await asyncio.gather(*(one.read('stdout') for one in sessions))\n        \
         assert texts == [b'%d\\n' % n for n in range(10)], texts\n        \
         task = asyncio.ensure_future(s.job.wait((await s.t.run(5, 'sleep 30')), 5.0))\n        \
         await asyncio.sleep(0.3)\n        \
         task.cancel()\n        \
         try:\n            await task\n            raise AssertionError\n        except asyncio.CancelledError: pass\n        \
         assert await s.echo.echo('well') == ['well']\n        \
         pieces = [piece async for piece in sessions[3].tail()]\n        \
         assert ''.join(pieces) == '3\\n'\n        \
         await sessions[0].download(to=os.path.join(place, 'a'))\n    \
         assert threading.active_count() < 40\n\
         asyncio.run(main())\n\
         print('well')\n",
    );
}

/// A relay on loopback. While `losing` is set, what the server says is kept back, and the connection ended: the
/// call has arrived, and its answer is lost.
const RELAY: &str = r"
import socket, threading
losing = threading.Event()
listener = socket.create_server(('127.0.0.1', 0))
lost = []
def copy(a, b, from_server):
    try:
        while True:
            data = a.recv(65536)
            if not data:
                break
            if from_server and losing.is_set():
                lost.append(len(data))
                losing.clear()
                break
            b.sendall(data)
    except OSError:
        pass
    for one in (a, b):
        try:
            one.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
def serve():
    while True:
        near, _ = listener.accept()
        far = socket.create_connection(('127.0.0.1', port))
        threading.Thread(target=copy, args=(near, far, False), daemon=True).start()
        threading.Thread(target=copy, args=(far, near, True), daemon=True).start()
port, url = int(url.split(':')[2].split('/')[0]), 'https://localhost:%d/clarens/' % listener.getsockname()[1]
threading.Thread(target=serve, daemon=True).start()
";

#[test]
fn an_answer_that_is_lost_is_given_again_and_the_job_runs_once() {
    let world = world();
    let code = r"
s = svr()
s.echo.echo('warm')
losing.set()
session = s.t.run(20, 'echo once')
assert lost and session.wait(30).ok
losing.set()
other = s.t.run(20, 'echo twice')
assert len(lost) == 2 and other.wait(30).ok
mine = [one['session'] for one in s.job.list()]
assert mine.count(str(session)) == 1 and len(set(mine)) == len(mine), mine
before = len(mine)
tagged = s.with_tag('tile-17-' + os.path.basename(place))
first = tagged.t.run(20, 'echo tagged')
assert isinstance(first, nesssi.Session) and tagged.t.run(20, 'echo tagged') == first
assert len(s.job.list()) == before + 1
try:
    tagged.t.run(20, 'echo other')
    raise AssertionError
except nesssi.Conflict as fault:
    assert not isinstance(fault, nesssi.CallLost), fault
assert s.system.last_call('tile-17-' + os.path.basename(place))['session'] == first

import asyncio
async def main():
    async with svr(nesssi.aio.client) as a:
        await a.echo.echo('warm')
        losing.set()
        session = await a.t.run(20, 'echo thrice')
        assert (await session.wait(30)).ok
        assert len(lost) == 3
asyncio.run(main())
assert len(s.job.list()) == before + 2
guest = svr(certfile=None, keyfile=None, guest=1)
guest.echo.echo('warm')
losing.set()
assert guest.t.run(20, 'echo guest').wait(30).ok
assert len(lost) == 4
print('well')
";
    run(&world, &format!("{RELAY}{code}"));
}

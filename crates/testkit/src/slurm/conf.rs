//! What the bed's daemons are told.

use std::fs::{self, File};
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::SlurmBuilder;

/// What the cluster is called.
pub(super) const CLUSTER: &str = "bed";

/// The daemons' ports on loopback.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ports {
    controller: u16,
    node: u16,
    accounting: u16,
    database: u16,
}

impl Ports {
    /// Ports that were free a moment ago, all different.
    pub(super) fn choose() -> Self {
        let held: Vec<TcpListener> =
            (0..4).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()).collect();
        let port = |at: usize| held[at].local_addr().unwrap().port();
        Self { controller: port(0), node: port(1), accounting: port(2), database: port(3) }
    }

    /// Whether the database takes connections.
    pub(super) fn database_answers(self) -> bool {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.database));
        TcpStream::connect_timeout(&address, Duration::from_millis(200)).is_ok()
    }
}

/// Makes the folders and writes slurm.conf, of which the path is returned, with munge's key.
pub(super) fn write(bed: &Path, builder: &SlurmBuilder, ports: Ports) -> PathBuf {
    let slurm = ids("slurm");
    let munge = ids("munge");
    folder(&bed.join("log"), 0o755, None);
    folder(&bed.join("spool"), 0o755, None);
    folder(&bed.join("state"), 0o755, Some(slurm));
    folder(&bed.join("munge"), 0o755, Some(munge));
    folder(&bed.join("munge/private"), 0o700, Some(munge));
    secret(&bed.join("munge/private/munge.key"), &random(128), munge);
    let path = bed.join("slurm.conf");
    fs::write(&path, slurm_conf(bed, builder, ports)).unwrap();
    if builder.accounting {
        let password = hex(&random(16));
        let text = slurmdbd_conf(bed, ports, &password);
        secret(&bed.join("slurmdbd.conf"), text.as_bytes(), slurm);
        folder(&bed.join("database"), 0o700, Some(slurm));
        let sql = format!(
            "create user accounts@'127.0.0.1' identified by '{password}';\n\
             grant all on slurm_acct_db.* to accounts@'127.0.0.1';\n"
        );
        secret(&bed.join("database/init.sql"), sql.as_bytes(), slurm);
    }
    path
}

fn slurm_conf(bed: &Path, builder: &SlurmBuilder, ports: Ports) -> String {
    let host = host();
    let bed = bed.display();
    let Ports { controller, node, accounting, .. } = ports;
    let SlurmBuilder { cpus, remembers_seconds, .. } = builder;
    let storage = if builder.accounting {
        // What is called a password is the socket by which slurmdbd is asked.
        format!(
            "AccountingStorageType=accounting_storage/slurmdbd\n\
             AccountingStorageHost=127.0.0.1\n\
             AccountingStoragePort={accounting}\n\
             AccountingStoragePass={bed}/munge/socket\n"
        )
    } else {
        "AccountingStorageType=accounting_storage/none\n".to_owned()
    };
    let mut text = format!(
        "ClusterName={CLUSTER}
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={node}
# on the addresses that are named here alone
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SlurmUser=slurm
AuthType=auth/munge
AuthInfo=socket={bed}/munge/socket
CredType=cred/munge
StateSaveLocation={bed}/state
SlurmdSpoolDir={bed}/spool
SlurmctldPidFile={bed}/state/pid
SlurmdPidFile={bed}/spool/pid
SlurmctldDebug=info
SlurmdDebug=info
PlugStackConfig={bed}/plugstack.conf
# a container gives no control groups: processes are followed through /proc
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
MpiDefault=none
SwitchType=switch/none
MailProg=/bin/true
# the node says that it has more CPUs than the machine
SlurmdParameters=config_overrides
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
DefMemPerCPU=64
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=2,sched_min_interval=0,bf_interval=1
PriorityType=priority/basic
EnforcePartLimits=ALL
MinJobAge={remembers_seconds}
KillWait=2
OverTimeLimit=0
CompleteWait=0
PropagateResourceLimits=NONE
{storage}
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={node} CPUs={cpus} RealMemory={memory} State=UNKNOWN
PartitionName=batch Nodes=n1 Default=YES DefaultTime=60 MaxTime=INFINITE State=UP
# one minute at most
PartitionName=short Nodes=n1 DefaultTime=1 MaxTime=1 State=UP
# jobs wait for ever
PartitionName=down Nodes=n1 State=DOWN
# no job is taken
PartitionName=closed Nodes=n1 State=DRAIN
# for root's group alone
PartitionName=private Nodes=n1 AllowGroups=root State=UP
",
        memory = memory_mebibytes(),
    );
    builder.lines.iter().for_each(|line| text.push_str(&format!("{line}\n")));
    fs::write(Path::new(&bed.to_string()).join("plugstack.conf"), "").unwrap();
    text
}

fn slurmdbd_conf(bed: &Path, ports: Ports, password: &str) -> String {
    let (bed, host) = (bed.display(), host());
    let Ports { accounting, database, .. } = ports;
    format!(
        "AuthType=auth/munge
AuthInfo=socket={bed}/munge/socket
DbdHost={host}
DbdAddr=127.0.0.1
DbdPort={accounting}
CommunicationParameters=NoInAddrAny
SlurmUser=slurm
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={database}
StorageUser=accounts
StoragePass={password}
StorageLoc=slurm_acct_db
PidFile={bed}/state/slurmdbd.pid
"
    )
}

/// Makes an empty database, in the folder that is returned.
pub(super) fn lay_out_database(bed: &Path) -> PathBuf {
    let database = bed.join("database");
    let output = Command::new("/usr/bin/mariadb-install-db")
        .args(["--no-defaults", "--user=slurm", "--skip-test-db"])
        .arg(format!("--datadir={}", database.join("data").display()))
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "mariadb-install-db: {output:?}");
    database
}

/// With what the database's daemon is started.
pub(super) fn database_arguments(database: &Path, ports: Ports) -> Vec<String> {
    let at = |name: &str| database.join(name).display().to_string();
    vec![
        "--no-defaults".to_owned(),
        "--user=slurm".to_owned(),
        format!("--datadir={}", at("data")),
        format!("--socket={}", at("socket")),
        format!("--pid-file={}", at("pid")),
        format!("--init-file={}", at("init.sql")),
        "--bind-address=127.0.0.1".to_owned(),
        "--skip-name-resolve".to_owned(),
        format!("--port={}", ports.database),
        "--innodb-buffer-pool-size=64M".to_owned(),
        // What a crash of the machine would lose is no loss.
        "--innodb-flush-log-at-trx-commit=0".to_owned(),
    ]
}

fn folder(path: &Path, mode: u32, owner: Option<(u32, u32)>) {
    fs::DirBuilder::new().mode(mode).create(path).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    if let Some((user, group)) = owner {
        chown(path, Some(user), Some(group)).unwrap();
    }
}

fn secret(path: &Path, bytes: &[u8], owner: (u32, u32)) {
    use std::io::Write;
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(path).unwrap();
    file.write_all(bytes).unwrap();
    chown(path, Some(owner.0), Some(owner.1)).unwrap();
}

/// User and group of an account that a package has made.
pub(super) fn ids(account: &str) -> (u32, u32) {
    let passwd = fs::read_to_string("/etc/passwd").unwrap();
    let line = passwd.lines().find(|line| line.split(':').next() == Some(account));
    let fields: Vec<&str> =
        line.unwrap_or_else(|| panic!("no account {account}")).split(':').collect();
    (fields[2].parse().unwrap(), fields[3].parse().unwrap())
}

/// The name of this machine up to its first dot, which is what Slurm compares.
fn host() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    name.trim().split('.').next().unwrap().to_owned()
}

fn memory_mebibytes() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:")).unwrap();
    let kibibytes: u64 = line.trim().trim_end_matches(" kB").trim().parse().unwrap();
    kibibytes / 1024
}

fn random(bytes: usize) -> Vec<u8> {
    let mut random = vec![0; bytes];
    File::open("/dev/urandom").unwrap().read_exact(&mut random).unwrap();
    random
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

//! Every key there is, by section.

/// Section and key of every key of `nesssi.toml`; a section within another has its dotted name.
pub const KEYS: &[(&str, &str)] = &[
    ("server", "listen_https"),
    ("server", "listen_http"),
    ("server", "public"),
    ("server", "base_url"),
    ("server", "sandbox_url"),
    ("server", "certificate"),
    ("server", "private_key"),
    ("server", "trust_directory"),
    ("server", "missing_crl"),
    ("server", "missing_signing_policy"),
    ("server", "user"),
    ("server", "control_socket"),
    ("server", "control_group"),
    ("server", "state_directory"),
    ("server", "log_directory"),
    ("server", "access_log"),
    ("server", "syslog_socket"),
    ("server", "libexec_directory"),
    ("server", "drain_seconds_max"),
    ("bounds", "body_bytes_max"),
    ("bounds", "xml_depth_max"),
    ("bounds", "xml_elements_max"),
    ("bounds", "calls_max"),
    ("bounds", "wait_seconds_max"),
    ("bounds", "connections_max"),
    ("bounds", "connections_per_address_max"),
    ("bounds", "handshake_seconds_max"),
    ("bounds", "header_seconds_max"),
    ("bounds", "body_seconds_max"),
    ("bounds", "idle_seconds_max"),
    ("bounds", "answers_kept_seconds"),
    ("front", "certificate_header"),
    ("front", "header"),
    ("front", "peers"),
    ("front", "subjects"),
    ("front", "address_header"),
    ("front", "proxy_protocol"),
    ("policy", "gridmap"),
    ("policy", "gridmapdir"),
    ("policy", "uid_min"),
    ("policy", "shared_account"),
    ("policy", "vo_administrators"),
    ("level", "name"),
    ("level", "from"),
    ("level", "account"),
    ("level", "subjects"),
    ("level", "issuers"),
    ("level", "gridmapped"),
    ("level", "proxies"),
    ("level", "addresses"),
    ("level", "cpu_seconds"),
    ("level", "wall_seconds"),
    ("level", "jobs_at_once"),
    ("level", "calls_per_minute"),
    ("level", "call_wall_seconds"),
    ("level", "call_cpu_seconds"),
    ("level", "sandbox_bytes"),
    ("level", "retention_seconds"),
    ("level", "cpu_seconds_per_day"),
    ("sandboxes", "root"),
    ("sandboxes", "umask"),
    ("tree", "name"),
    ("tree", "path"),
    ("services", "directory"),
    ("services", "account"),
    ("services", "python"),
    ("services", "python_path"),
    ("services", "describe_seconds_max"),
    ("services", "workers_max_per_service"),
    ("services", "worker_calls_max"),
    ("services", "worker_idle_seconds_max"),
    ("batch", "default"),
    ("batch.local", "slots"),
    ("batch.local", "queue_max"),
];

/// Where a key that stands in the wrong section belongs, as a sentence.
pub(crate) fn advice(key: &str) -> Option<String> {
    let homes: Vec<_> = KEYS
        .iter()
        .filter(|(_, known)| *known == key)
        .map(|(section, _)| heading(section))
        .collect();
    (!homes.is_empty()).then(|| format!("it belongs in {}", homes.join(" or ")))
}

fn heading(section: &str) -> String {
    match section {
        "level" | "tree" => format!("[[{section}]]"),
        _ => format!("[{section}]"),
    }
}

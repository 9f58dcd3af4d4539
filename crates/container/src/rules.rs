//! What the configuration in force says of levels and administrators: it may change while this
//! process serves, unlike everything else in the configuration.

use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use nesssi_config::{Config, Shell, Tree};
use nesssi_policy::{From as LevelFrom, IpNet, Level, LevelName, SubjectDn};

use crate::grants::address_prefix;

/// How long the prefix is that stands for an IPv4 address, and for an IPv6 address.
const PREFIX_BITS: (u8, u8) = (24, 64);

/// The rules in force, to be looked at again for every decision.
#[derive(Debug)]
pub(crate) struct RulesInForce(ArcSwap<Known>);

/// What they say.
#[derive(Debug)]
pub(crate) struct Known {
    levels: Vec<Level>,
    /// Some level tells addresses of one prefix apart.
    tells_addresses_apart: bool,
    /// The trees that callers may read.
    pub(crate) trees: Vec<Tree>,
    /// The root administrators of VO groups.
    pub(crate) vo_administrators: Vec<SubjectDn>,
    /// The levels that may submit jobs of their own words.
    pub(crate) submit_levels: Vec<LevelName>,
    /// Who changes access while the server runs.
    access_administrators: Vec<SubjectDn>,
    /// The commands of `shell.cmd`.
    pub(crate) shell: Arc<Shell>,
}

impl RulesInForce {
    /// Those of a configuration.
    pub(crate) fn new(config: &Config) -> Self {
        Self(ArcSwap::from_pointee(Known::of(config)))
    }

    /// Those of another configuration, from now on.
    pub(crate) fn replace(&self, config: &Config) {
        self.0.store(Arc::new(Known::of(config)));
    }

    /// Those of now. Not to be held over a wait.
    pub(crate) fn now(&self) -> Guard<Arc<Known>> {
        self.0.load()
    }
}

impl Known {
    fn of(config: &Config) -> Self {
        let levels = config.levels.clone();
        let narrow = |net: &IpNet| match net {
            IpNet::V4(net) => net.prefix_len() > PREFIX_BITS.0,
            IpNet::V6(net) => net.prefix_len() > PREFIX_BITS.1,
        };
        let tells_addresses_apart = levels.iter().flat_map(|level| &level.addresses).any(narrow);
        let vo_administrators = config.policy.vo_administrators.clone();
        let trees = config.trees.clone();
        let submit_levels = config.job.submit_levels.clone();
        let access_administrators = config.policy.access_administrators.clone();
        let shell = Arc::new(config.shell.clone());
        Self {
            levels,
            tells_addresses_apart,
            trees,
            vo_administrators,
            submit_levels,
            access_administrators,
            shell,
        }
    }

    /// Whether this whole DN, in any case, is one of the access administrators'.
    pub(crate) fn is_access_administrator(&self, subject: &SubjectDn) -> bool {
        let key = subject.matching_key();
        self.access_administrators.iter().any(|name| name.matching_key() == key)
    }

    /// What of an address a judgement depends on.
    pub(crate) fn address_key(&self, address: IpAddr) -> IpAddr {
        if self.tells_addresses_apart { address.to_canonical() } else { address_prefix(address) }
    }

    /// The levels, in the order of judging.
    pub(crate) fn levels(&self) -> &[Level] {
        &self.levels
    }

    /// Whether there is a level of this name.
    pub(crate) fn has_level(&self, name: &str) -> bool {
        self.levels.iter().any(|level| level.name.as_str() == name)
    }

    /// The levels whose callers have no account of their own: what nobody has approved may serve
    /// them.
    pub(crate) fn community_levels(&self) -> Vec<LevelName> {
        let community = self.levels.iter().filter(|level| level.from != LevelFrom::Gridmap);
        community.map(|level| level.name.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::RulesInForce;

    #[test]
    fn an_address_counts_in_full_where_a_level_tells_neighbours_apart() {
        let of = |addresses: &str| {
            let text = format!(
                "[[level]]\nname = \"l\"\nfrom = \"certificate\"\naccount = \"a\"\n{addresses}"
            );
            RulesInForce::new(&nesssi_config::parse(&text, "/etc/nesssi.toml").unwrap())
        };
        let check = |rules: &RulesInForce, address: &str, key: &str| {
            let got = rules.now().address_key(address.parse().unwrap());
            assert_eq!(got.to_string(), key, "{address}");
        };
        for wide in ["", "addresses = [\"192.0.2.0/24\", \"2001:db8::/64\"]"] {
            check(&of(wide), "192.0.2.7", "192.0.2.0");
            check(&of(wide), "2001:db8::7", "2001:db8::");
        }
        for narrow in ["addresses = [\"192.0.2.0/25\"]", "addresses = [\"2001:db8::/65\"]"] {
            check(&of(narrow), "::ffff:192.0.2.7", "192.0.2.7");
            check(&of(narrow), "2001:db8::7", "2001:db8::7");
        }
        let rules = of("");
        rules.replace(
            &nesssi_config::parse(
                "[[level]]\nname = \"l\"\nfrom = \"gridmap\"\naddresses = [\"192.0.2.7/32\"]",
                "/etc/nesssi.toml",
            )
            .unwrap(),
        );
        check(&rules, "192.0.2.9", "192.0.2.9");
        assert!(rules.now().has_level("l") && rules.now().community_levels().is_empty());
    }
}

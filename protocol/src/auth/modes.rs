//! In which modes does a connection of v2 run?
//!
//! Six lists, one for each pairing of who this side is and who the peer is. A list says what is offered when dialing,
//! the best first, and what is allowed when accepting; of what both have, the client's order decides.
//!
//! | this side | peer | option | Ceph's default |
//! |---|---|---|---|
//! | client | mon, mgr | `ms_mon_client_mode` | secure crc |
//! | client | others | `ms_client_mode` | crc secure |
//! | mon, mgr | mon, mgr | `ms_mon_cluster_mode` | secure crc |
//! | mon, mgr | others | `ms_mon_service_mode` | secure crc |
//! | osd, mds | mon, mgr | `ms_mon_cluster_mode` | secure crc |
//! | osd, mds | osd, mds | `ms_cluster_mode` | crc secure |
//! | osd, mds | client | `ms_service_mode` | crc secure |
//!
//! Ceph: `src/auth/AuthRegistry.cc`.

use cephwire_codec::EntityType;
use cephwire_codec::v2::mode;

/// The lists. A mode that is not known here is skipped where it stands in a peer's list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Modes {
    /// `ms_cluster_mode`.
    pub cluster: Vec<u32>,
    /// `ms_service_mode`.
    pub service: Vec<u32>,
    /// `ms_client_mode`.
    pub client: Vec<u32>,
    /// `ms_mon_cluster_mode`.
    pub mon_cluster: Vec<u32>,
    /// `ms_mon_service_mode`.
    pub mon_service: Vec<u32>,
    /// `ms_mon_client_mode`.
    pub mon_client: Vec<u32>,
}

/// A list in which no name is known: it would allow nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no name in {text:?} is known")]
pub struct UnknownNames {
    /// The list.
    pub text: String,
}

impl Modes {
    /// The same list for everybody.
    #[must_use]
    pub fn all(modes: &[u32]) -> Self {
        let list = || modes.to_vec();
        Self {
            cluster: list(),
            service: list(),
            client: list(),
            mon_cluster: list(),
            mon_service: list(),
            mon_client: list(),
        }
    }

    /// What is offered to, and allowed for, a peer of this type by one of type `own`.
    #[must_use]
    pub fn of(&self, own: EntityType, peer: EntityType) -> &[u32] {
        let central = |kind| matches!(kind, EntityType::MON | EntityType::MGR);
        let storage = matches!(peer, EntityType::OSD | EntityType::MDS);
        match own {
            EntityType::MON | EntityType::MGR if central(peer) => &self.mon_cluster,
            EntityType::MON | EntityType::MGR => &self.mon_service,
            EntityType::OSD | EntityType::MDS if central(peer) => &self.mon_cluster,
            EntityType::OSD | EntityType::MDS if storage => &self.cluster,
            EntityType::OSD | EntityType::MDS => &self.service,
            _ if central(peer) => &self.mon_client,
            _ => &self.client,
        }
    }

    /// The modes that an option names: separated by spaces, commas or semicolons. Names that are not known are skipped.
    ///
    /// # Errors
    /// When none is known.
    pub fn parse(text: &str) -> Result<Vec<u32>, UnknownNames> {
        parse_names(text, |name| (1..=2).find(|known| mode::name(*known) == Some(name)))
    }
}

/// The numbers of the names in a list that are known.
pub(super) fn parse_names(
    text: &str,
    number: impl Fn(&str) -> Option<u32>,
) -> Result<Vec<u32>, UnknownNames> {
    let names = text.split([' ', ',', ';', '\t']).filter(|name| !name.is_empty());
    let mut numbers: Vec<u32> = Vec::new();
    for number in names.filter_map(number) {
        if !numbers.contains(&number) {
            numbers.push(number);
        }
    }
    if numbers.is_empty() { Err(UnknownNames { text: text.to_owned() }) } else { Ok(numbers) }
}

/// As in Ceph.
impl Default for Modes {
    fn default() -> Self {
        let (fast, safe) = (vec![mode::CRC, mode::SECURE], vec![mode::SECURE, mode::CRC]);
        Self {
            cluster: fast.clone(),
            service: fast.clone(),
            client: fast,
            mon_cluster: safe.clone(),
            mon_service: safe.clone(),
            mon_client: safe,
        }
    }
}

/// The same list for everybody.
impl From<Vec<u32>> for Modes {
    fn from(modes: Vec<u32>) -> Self {
        Self::all(&modes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MON: EntityType = EntityType::MON;
    const MGR: EntityType = EntityType::MGR;
    const OSD: EntityType = EntityType::OSD;
    const MDS: EntityType = EntityType::MDS;
    const CLIENT: EntityType = EntityType::CLIENT;

    /// messenger 2 spec §6.
    #[test]
    fn each_pairing_has_its_list() {
        let modes = Modes {
            cluster: vec![10],
            service: vec![11],
            client: vec![12],
            mon_cluster: vec![13],
            mon_service: vec![14],
            mon_client: vec![15],
        };
        for (own, peer, list) in [
            (CLIENT, MON, 15),
            (CLIENT, MGR, 15),
            (CLIENT, OSD, 12),
            (CLIENT, MDS, 12),
            (CLIENT, CLIENT, 12),
            (MON, MON, 13),
            (MGR, MON, 13),
            (MON, OSD, 14),
            (MGR, CLIENT, 14),
            (OSD, MON, 13),
            (MDS, MGR, 13),
            (OSD, OSD, 10),
            (MDS, OSD, 10),
            (OSD, CLIENT, 11),
            (MDS, EntityType(0), 11),
        ] {
            assert_eq!(modes.of(own, peer), [list], "{own} {peer}");
        }
        assert_eq!(Modes::default().of(CLIENT, MON), [2, 1]);
        assert_eq!(Modes::default().of(OSD, CLIENT), [1, 2]);
    }

    #[test]
    fn names_that_are_not_known_never_empty_a_list() {
        for (text, modes) in [
            ("crc secure", &[1, 2][..]),
            ("secure, crc", &[2, 1]),
            (" secure-psp secure;secure ", &[2]),
            ("crc", &[1]),
        ] {
            assert_eq!(Modes::parse(text).as_deref(), Ok(modes));
        }
        for text in ["", "secure-psp", "unknown", "CRC"] {
            assert_eq!(Modes::parse(text), Err(UnknownNames { text: text.to_owned() }));
        }
    }
}

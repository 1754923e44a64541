//! Nothing is left of a cluster that was taken down.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Instant;

use behalf_local_cluster::cluster::{self, Cluster};

use crate::support::{say, text};

pub(crate) fn leaves_nothing_behind(cluster: Cluster) {
    let directory = state(&cluster);
    let (name, host) = (cluster.name().to_owned(), cluster.host_address().unwrap());
    let [_, _, index, _] = host.octets();
    assert!(!processes(&directory).is_empty());
    assert!(text("ip", &["link"]).contains(&format!(" behalf{index}: ")));
    let start = Instant::now();
    cluster.down().unwrap();
    say(&format!("{:6.1} s  {name}: down", start.elapsed().as_secs_f64()));

    assert_eq!(processes(&directory), []);
    assert!(!directory.exists());
    for mounts in ["/proc/self/mounts", "/proc/1/mounts"] {
        assert!(!fs::read_to_string(mounts).unwrap().contains(&name), "{mounts}");
    }
    assert!(!text("ip", &["link"]).contains(&format!(" behalf{index}: ")));
    assert!(!text("ip", &["-4", "route", "show", "table", "all"]).contains(&network(host)));
    assert_eq!(
        text("find", &["/sys/fs/cgroup", "-name", &format!("behalf{index}n*")]),
        ""
    );
    assert!(!cluster::list().unwrap().iter().any(|other| other.name() == name));
}

fn network(host: Ipv4Addr) -> String {
    let [first, second, third, _] = host.octets();
    format!("{first}.{second}.{third}.")
}

pub(crate) fn state(cluster: &Cluster) -> PathBuf {
    behalf_local_cluster::files::cache()
        .join("clusters")
        .join(cluster.name())
}

/// Process number and command line of everything that works in a folder.
pub(crate) fn processes(directory: &Path) -> Vec<(String, String)> {
    let directory = format!("{}/", directory.display());
    fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| {
            let line = fs::read(entry.path().join("cmdline")).ok()?;
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            line.contains(&directory)
                .then(|| (entry.file_name().into_string().unwrap(), line))
        })
        .collect()
}

//! Which files a runtime keeps its containers' names in.
//!
//! An id is 64 hexadecimal digits before it comes here, so it can't lead anywhere else.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{Labels, Request, read};
use crate::enrich::users::Users;
use crate::event::Runtime;

/// Most bytes of a file about one container.
const ONE_MAX_BYTES: u64 = 4 << 20;

/// Most bytes of a file about all containers.
const ALL_MAX_BYTES: u64 = 32 << 20;

/// Where dockerd keeps its state, for root and for the user who runs it.
const DOCKER: (&str, &str) = ("var/lib/docker", ".local/share/docker");

/// Where podman and CRI-O keep theirs (containers-storage.conf(5), `graphroot`).
const STORAGE: (&str, &str) = (
    "var/lib/containers/storage",
    ".local/share/containers/storage",
);

/// Storage drivers, each with a folder of its own.
const DRIVERS: [&str; 3] = ["overlay", "vfs", "btrfs"];

/// Where containerd's shims keep the specifications of running containers, by namespace; k3s brings
/// a containerd of its own.
const CONTAINERD: [&str; 2] = [
    "run/containerd/io.containerd.runtime.v2.task",
    "run/k3s/containerd/io.containerd.runtime.v2.task",
];

/// What is known of a container; nothing where nothing can be read.
pub(super) fn find(root: &Path, users: &Users, request: &Request) -> Labels {
    let id = &request.id;
    // `None`: the user has no home that we know of.
    let below = |(of_root, of_user): (&str, &str)| match request.user {
        None => Some(root.join(of_root)),
        Some(uid) => {
            let home = users.home(uid)?;
            Some(root.join(home.strip_prefix("/").ok()?).join(of_user))
        }
    };
    let docker = || of_docker(&below(DOCKER)?, id);
    let storage = |find: fn(&Path, &str) -> Option<Labels>| find(&below(STORAGE)?, id);
    let found = match request.runtime {
        Some(Runtime::Docker) => docker(),
        Some(Runtime::Containerd) => of_containerd(root, id),
        Some(Runtime::CriO) => storage(of_crio),
        Some(Runtime::Podman) => storage(of_podman),
        // A bare id: whoever knows it.
        None => docker()
            .or_else(|| of_containerd(root, id))
            .or_else(|| storage(of_crio)),
        Some(_) => None,
    };
    found.unwrap_or_default()
}

fn json<T: DeserializeOwned>(path: &Path, most_bytes: u64) -> Option<T> {
    serde_json::from_slice(&read(path, most_bytes)?).ok()
}

/// `containers/ID/config.v2.json` (moby, `daemon/container/container.go`).
fn of_docker(state: &Path, id: &str) -> Option<Labels> {
    #[derive(Deserialize)]
    struct Config {
        #[serde(rename = "Name")]
        name: String,
    }
    let path = state.join("containers").join(id).join("config.v2.json");
    let config: Config = json(&path, ONE_MAX_BYTES)?;
    let name = config.name.strip_prefix('/').unwrap_or(&config.name);
    Some(Labels {
        runtime: Some(Runtime::Docker),
        name: nonempty(name),
        ..Labels::default()
    })
}

/// The annotations of an OCI runtime specification.
#[derive(Deserialize)]
struct Specification {
    #[serde(default)]
    annotations: HashMap<String, String>,
}

impl Specification {
    fn first(&self, keys: &[&str]) -> Option<String> {
        keys.iter()
            .find_map(|key| nonempty(self.annotations.get(*key)?))
    }
}

/// `NAMESPACE/ID/config.json` of the shim, with containerd's CRI annotations
/// (`internal/cri/annotations/annotations.go`) or nerdctl's labels (`pkg/labels/labels.go`).
fn of_containerd(root: &Path, id: &str) -> Option<Labels> {
    let specification: Specification = CONTAINERD
        .iter()
        .filter_map(|state| std::fs::read_dir(root.join(state)).ok())
        .flatten()
        .flatten()
        .find_map(|namespace| {
            json(
                &namespace.path().join(id).join("config.json"),
                ONE_MAX_BYTES,
            )
        })?;
    Some(Labels {
        runtime: Some(Runtime::Containerd),
        name: specification.first(&["io.kubernetes.cri.container-name", "nerdctl/name"]),
        pod: specification.first(&["io.kubernetes.cri.sandbox-name"]),
        namespace: specification.first(&["io.kubernetes.cri.sandbox-namespace"]),
    })
}

/// `overlay-containers/ID/userdata/config.json`, with CRI-O's annotations.
fn of_crio(storage: &Path, id: &str) -> Option<Labels> {
    let specification: Specification = folders(storage)
        .find_map(|folder| json(&folder.join(id).join("userdata/config.json"), ONE_MAX_BYTES))?;
    Some(Labels {
        runtime: Some(Runtime::CriO),
        name: specification.first(&["io.kubernetes.container.name"]),
        pod: specification.first(&["io.kubernetes.pod.name"]),
        namespace: specification.first(&["io.kubernetes.pod.namespace"]),
    })
}

/// `containers.json` and `volatile-containers.json` (containers/storage, `containers.go`).
fn of_podman(storage: &Path, id: &str) -> Option<Labels> {
    #[derive(Deserialize)]
    struct Entry {
        id: String,
        #[serde(default)]
        names: Vec<String>,
    }
    let files = ["containers.json", "volatile-containers.json"];
    let entry = folders(storage)
        .flat_map(|folder| files.map(|file| folder.join(file)))
        .filter_map(|path| json::<Vec<Entry>>(&path, ALL_MAX_BYTES))
        .flatten()
        .find(|entry| entry.id == id)?;
    Some(Labels {
        runtime: Some(Runtime::Podman),
        name: entry.names.first().and_then(|name| nonempty(name)),
        ..Labels::default()
    })
}

fn folders(storage: &Path) -> impl Iterator<Item = PathBuf> + '_ {
    DRIVERS
        .iter()
        .map(|driver| storage.join(format!("{driver}-containers")))
}

fn nonempty(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "b0f1c6b3f4e0cbd8f9e4b8f1c3f6f8e2a1d3c5b7a9e8f7d6c5b4a39281706f5e";

    /// A root folder that goes with the test.
    struct Root(PathBuf);

    impl Root {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("nt-state-{}-{name}", std::process::id()));
            std::fs::create_dir_all(&path).expect("a folder");
            Self(path)
        }

        fn file(&self, path: &str, text: &str) {
            let path = self.0.join(path);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
            std::fs::write(path, text).expect("a file");
        }

        fn find(&self, runtime: Option<Runtime>, user: Option<u32>) -> Labels {
            let request = Request {
                id: ID.to_owned(),
                runtime,
                user,
            };
            find(&self.0, &Users::of(&self.0), &request)
        }
    }

    impl Drop for Root {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn dockers_name_has_no_slash_in_front() {
        let root = Root::new("docker");
        let path = format!("var/lib/docker/containers/{ID}/config.v2.json");
        root.file(
            &path,
            r#"{"StreamConfig":{},"ID":"x","Name":"/web","Path":"sh"}"#,
        );
        let found = root.find(Some(Runtime::Docker), None);
        assert_eq!(found.name.as_deref(), Some("web"));
        // A bare id is docker's if docker knows it.
        assert_eq!(root.find(None, None).runtime, Some(Runtime::Docker));
    }

    #[test]
    fn kubernetes_names_stand_in_the_annotations() {
        let root = Root::new("containerd");
        let path = format!("run/containerd/io.containerd.runtime.v2.task/k8s.io/{ID}/config.json");
        root.file(
            &path,
            r#"{"ociVersion":"1.1.0","annotations":{"io.kubernetes.cri.container-name":"web",
            "io.kubernetes.cri.sandbox-name":"web-7d9","io.kubernetes.cri.sandbox-namespace":"shop"}}"#,
        );
        let found = root.find(Some(Runtime::Containerd), None);
        assert_eq!(found.name.as_deref(), Some("web"));
        assert_eq!(found.pod.as_deref(), Some("web-7d9"));
        assert_eq!(found.namespace.as_deref(), Some("shop"));
    }

    #[test]
    fn a_users_containers_are_looked_up_in_that_users_home() {
        let root = Root::new("rootless");
        root.file("etc/passwd", "alice:x:1000:1000::/home/alice:/bin/sh\n");
        root.file(
            "home/alice/.local/share/containers/storage/overlay-containers/containers.json",
            &format!(r#"[{{"id":"{ID}","names":["mail"],"image":"x"}}]"#),
        );
        let found = root.find(Some(Runtime::Podman), Some(1000));
        assert_eq!(found.name.as_deref(), Some("mail"));
        assert_eq!(root.find(Some(Runtime::Podman), None), Labels::default());
        assert_eq!(root.find(Some(Runtime::Podman), Some(7)), Labels::default());
    }

    #[test]
    fn what_is_broken_is_as_good_as_absent() {
        let root = Root::new("broken");
        let path = format!("var/lib/docker/containers/{ID}/config.v2.json");
        for text in ["", "{", "[]", r#"{"Name":7}"#] {
            root.file(&path, text);
            assert_eq!(root.find(Some(Runtime::Docker), None), Labels::default());
        }
        std::fs::remove_file(root.0.join(&path)).expect("it is there");
        std::fs::create_dir(root.0.join(&path)).expect("a folder instead");
        assert_eq!(root.find(Some(Runtime::Docker), None), Labels::default());
    }
}

//! Which files a runtime keeps its containers' names in.
//!
//! An id is 64 hexadecimal digits before it comes here, so it can't lead anywhere else.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{Labels, Request, file};
use crate::enrich::users::Users;
use crate::event::Runtime;

/// Most bytes of a file about one container.
const ONE_MAX_BYTES: u64 = 4 << 20;

/// Most bytes of a file about all containers.
const ALL_MAX_BYTES: u64 = 8 << 20;

/// The longest name that Kubernetes and the engines take.
const NAME_MAX_BYTES: usize = 253;

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
    let state = State {
        root,
        owner: request.user,
    };
    // `None`: the user has no home that we know of.
    let below = |(of_root, of_user): (&str, &str)| match request.user {
        None => Some(PathBuf::from(of_root)),
        Some(uid) => Some(users.home(uid)?.join(of_user)),
    };
    let docker = || of_docker(&state, &below(DOCKER)?, id);
    let storage =
        |find: fn(&State<'_>, &Path, &str) -> Option<Labels>| find(&state, &below(STORAGE)?, id);
    let found = match request.runtime {
        Some(Runtime::Docker) => docker(),
        Some(Runtime::Containerd) => of_containerd(&state, id),
        Some(Runtime::CriO) => storage(of_crio),
        Some(Runtime::Podman) => storage(of_podman),
        // A bare id: whoever knows it.
        None => docker()
            .or_else(|| of_containerd(&state, id))
            .or_else(|| storage(of_crio)),
        Some(_) => None,
    };
    found.unwrap_or_default()
}

/// Where files are looked for, and whose they may be besides root's.
struct State<'a> {
    root: &'a Path,
    owner: Option<u32>,
}

impl State<'_> {
    fn json<T: DeserializeOwned>(&self, path: &Path, most_bytes: u64) -> Option<T> {
        serde_json::from_slice(&file::read(self.root, path, self.owner, most_bytes)?).ok()
    }
}

/// `containers/ID/config.v2.json` (moby, `daemon/container/container.go`).
fn of_docker(state: &State<'_>, folder: &Path, id: &str) -> Option<Labels> {
    #[derive(Deserialize)]
    struct Config {
        #[serde(rename = "Name")]
        name: String,
    }
    let path = folder.join("containers").join(id).join("config.v2.json");
    let config: Config = state.json(&path, ONE_MAX_BYTES)?;
    let name = config.name.strip_prefix('/').unwrap_or(&config.name);
    Some(Labels {
        runtime: Some(Runtime::Docker),
        name: name_of(name),
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
            .find_map(|key| name_of(self.annotations.get(*key)?))
    }
}

/// `NAMESPACE/ID/config.json` of the shim, with containerd's CRI annotations
/// (`internal/cri/annotations/annotations.go`) or nerdctl's labels (`pkg/labels/labels.go`).
fn of_containerd(state: &State<'_>, id: &str) -> Option<Labels> {
    let specification: Specification = CONTAINERD
        .iter()
        .flat_map(|folder| file::names(state.root, Path::new(folder)))
        .find_map(|namespace| state.json(&namespace.join(id).join("config.json"), ONE_MAX_BYTES))?;
    Some(Labels {
        runtime: Some(Runtime::Containerd),
        name: specification.first(&["io.kubernetes.cri.container-name", "nerdctl/name"]),
        pod: specification.first(&["io.kubernetes.cri.sandbox-name"]),
        namespace: specification.first(&["io.kubernetes.cri.sandbox-namespace"]),
    })
}

/// `overlay-containers/ID/userdata/config.json`, with CRI-O's annotations.
fn of_crio(state: &State<'_>, storage: &Path, id: &str) -> Option<Labels> {
    let specification: Specification = folders(storage).find_map(|folder| {
        state.json(&folder.join(id).join("userdata/config.json"), ONE_MAX_BYTES)
    })?;
    Some(Labels {
        runtime: Some(Runtime::CriO),
        name: specification.first(&["io.kubernetes.container.name"]),
        pod: specification.first(&["io.kubernetes.pod.name"]),
        namespace: specification.first(&["io.kubernetes.pod.namespace"]),
    })
}

/// `containers.json` and `volatile-containers.json` (containers/storage, `containers.go`).
fn of_podman(state: &State<'_>, storage: &Path, id: &str) -> Option<Labels> {
    #[derive(Deserialize)]
    struct Entry {
        id: String,
        #[serde(default)]
        names: Vec<String>,
    }
    let files = ["containers.json", "volatile-containers.json"];
    let entry = folders(storage)
        .flat_map(|folder| files.map(|file| folder.join(file)))
        .filter_map(|path| state.json::<Vec<Entry>>(&path, ALL_MAX_BYTES))
        .flatten()
        .find(|entry| entry.id == id)?;
    Some(Labels {
        runtime: Some(Runtime::Podman),
        name: entry.names.first().and_then(|name| name_of(name)),
        ..Labels::default()
    })
}

fn folders(storage: &Path) -> impl Iterator<Item = PathBuf> + '_ {
    DRIVERS
        .iter()
        .map(|driver| storage.join(format!("{driver}-containers")))
}

/// A name, if it is one that engines let people choose: a user's state is that user's to write.
fn name_of(text: &str) -> Option<String> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    let begins = text
        .bytes()
        .next()
        .is_some_and(|byte| byte.is_ascii_alphanumeric());
    let is_name = begins && text.len() <= NAME_MAX_BYTES && text.bytes().all(is_allowed);
    is_name.then(|| text.to_owned())
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
    fn only_what_could_be_a_name_is_one() {
        let root = Root::new("names");
        let path = format!("var/lib/docker/containers/{ID}/config.v2.json");
        let long = "x".repeat(254);
        for name in ["web (monitor)", "a\\u001b[2J", "-x", "", &long, "\u{202e}"] {
            root.file(&path, &format!(r#"{{"Name":"/{name}"}}"#));
            assert_eq!(root.find(Some(Runtime::Docker), None).name, None, "{name}");
        }
    }

    #[test]
    fn a_link_leads_nowhere_outside_of_the_root_and_only_to_files() {
        let root = Root::new("links");
        root.file("real.json", r#"{"Name":"/web"}"#);
        let path = root.0.join(format!("var/lib/docker/containers/{ID}"));
        std::fs::create_dir_all(&path).expect("folders");
        let path = path.join("config.v2.json");
        for (target, name) in [
            ("/real.json", Some("web")),
            ("/dev/null", None),
            ("/", None),
        ] {
            std::os::unix::fs::symlink(target, &path).expect("a link");
            let found = root.find(Some(Runtime::Docker), None);
            assert_eq!(found.name.as_deref(), name, "{target}");
            std::fs::remove_file(&path).expect("it is there");
        }
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

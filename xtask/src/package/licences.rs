//! The licences of what is linked into the static binary, which must be told with it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use super::static_build::StaticBuild;
use crate::{process, workspace::Workspace};

/// How names of files with terms begin.
const TERMS: [&str; 5] = ["license", "licence", "copying", "notice", "unlicense"];

const HEAD: &str = "\
The program nxdp contains, linked statically, the packages below; the C library musl (MIT, https://musl.libc.org);
and the Rust standard library (MIT OR Apache-2.0, https://www.rust-lang.org). Texts that packages share stand once.\n";

/// What `cargo metadata` tells, as far as it is read here.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize, Clone)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
    repository: Option<String>,
    source: Option<String>,
    manifest_path: String,
}

/// One text: each linked package with its licence, then the terms.
pub(super) fn third_party(workspace: &Workspace, built: &StaticBuild) -> Result<String> {
    let linked = linked(workspace, built)?;
    let mut packages: Vec<Package> = known(workspace, built)?
        .into_iter()
        .filter(|package| package.source.is_some())
        .filter(|package| linked.contains(&format!("{} v{}", package.name, package.version)))
        .collect();
    packages.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
    if packages.len() < 20 {
        bail!(
            "tell the licences of {} packages: some are missing",
            packages.len()
        );
    }
    render(&packages)
}

fn render(packages: &[Package]) -> Result<String> {
    let mut text = HEAD.to_string();
    let mut terms: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for package in packages {
        let title = format!("{} {}", package.name, package.version);
        let Some(license) = &package.license else {
            bail!("tell the licence of {title}: its manifest names none");
        };
        let repository = package.repository.as_deref().unwrap_or("");
        text += format!("\n{title}: {license} {repository}").trim_end();
        text = text.replace("\n\n\n", "\n\n");
        let folder = Path::new(&package.manifest_path).parent();
        for file in texts(folder.context("find the folder of a package")?)? {
            terms.entry(file).or_default().push(title.clone());
        }
    }
    text.push('\n');
    for (terms, titles) in &terms {
        let line = "-".repeat(79);
        text += &format!("\n{line}\n{}\n\n{}\n", titles.join(", "), terms.trim());
    }
    Ok(text)
}

/// The files in a package's folder that hold terms.
fn texts(folder: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in folder.read_dir().context("list a package's files")? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().to_lowercase();
        if entry.file_type()?.is_file() && TERMS.iter().any(|start| name.starts_with(start)) {
            let bytes = fs::read(entry.path()).context("read a package's licence")?;
            found.push(String::from_utf8_lossy(&bytes).into_owned());
        }
    }
    Ok(found)
}

/// What the binary is linked of, as `name vVERSION`.
fn linked(workspace: &Workspace, built: &StaticBuild) -> Result<BTreeSet<String>> {
    let mut cargo = built.cargo(workspace)?;
    cargo.args(["tree", "--package", "filter-user", "--edges", "normal"]);
    cargo.args(["--prefix", "none", "--format", "{p}"]);
    cargo.args(["--target", &built.triple]);
    let told = process::output(&mut cargo).context("list what nxdp is linked of")?;
    let names = told.lines().map(|line| {
        let mut words = line.split(' ');
        let (name, version) = (words.next(), words.next());
        format!(
            "{} {}",
            name.unwrap_or_default(),
            version.unwrap_or_default()
        )
    });
    Ok(names.collect())
}

fn known(workspace: &Workspace, built: &StaticBuild) -> Result<Vec<Package>> {
    let mut cargo = built.cargo(workspace)?;
    cargo.args(["metadata", "--format-version", "1"]);
    cargo.args(["--filter-platform", &built.triple]);
    let told = process::output(&mut cargo).context("ask cargo about packages")?;
    let metadata: Metadata = serde_json::from_str(&told).context("read what cargo told")?;
    Ok(metadata.packages)
}

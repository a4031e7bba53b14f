//! A temporary folder to run the command in, and eyes for what it leaves there.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// The command.
pub const THALWEG: &str = env!("CARGO_BIN_EXE_thalweg");

/// A folder of its own, in which `data/` is the folder of example data.
pub struct Scene(TempDir);

/// What a run of the command came to.
pub struct Done {
    pub status: i32,
    pub out: String,
    pub err: String,
}

impl Scene {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/data");
        std::os::unix::fs::symlink(data.canonicalize().unwrap(), dir.path().join("data")).unwrap();
        Self(dir)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.path(name), bytes).unwrap();
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    pub fn text(&self, name: &str) -> String {
        String::from_utf8(self.read(name)).unwrap()
    }

    /// The command with the words of `line`; a word with blanks stands in single quotes.
    pub fn command(&self, line: &str) -> Command {
        let mut command = Command::new(THALWEG);
        command.args(words(line)).current_dir(self.0.path()).stdin(Stdio::null());
        command.env_remove("THALWEG_ISA").env_remove("COLUMNS");
        command
    }

    pub fn run(&self, line: &str) -> Done {
        Done::of(self.command(line).output().unwrap())
    }

    /// Runs a line that must succeed.
    pub fn ok(&self, line: &str) -> Done {
        let done = self.run(line);
        assert_eq!(done.status, 0, "{line}\n{}", done.err);
        done
    }

    /// Runs a line that must succeed and print one JSON document.
    pub fn json(&self, line: &str) -> Value {
        let done = self.ok(line);
        serde_json::from_str(&done.out).unwrap_or_else(|e| panic!("{line}: {e}\n{}", done.out))
    }

    /// Runs a shell line; `$THALWEG` is the command.
    pub fn shell(&self, line: &str) -> Done {
        let mut shell = Command::new("bash");
        shell.args(["-o", "pipefail", "-c", line]).env("THALWEG", THALWEG).current_dir(self.0.path());
        Done::of(shell.stdin(Stdio::null()).output().unwrap())
    }

    /// What a terminal of 80 columns is sent.
    pub fn terminal(&self, line: &str) -> String {
        let words: Vec<String> = words(line).iter().map(|w| format!("'{w}'")).collect();
        let inner = format!("stty cols 80 rows 40; exec \"$THALWEG\" {}", words.join(" "));
        let mut script = Command::new("script");
        script.args(["-qc", &inner, "/dev/null"]).env("THALWEG", THALWEG).env("TERM", "xterm");
        let output = script.current_dir(self.0.path()).stdin(Stdio::null()).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs a line that must fail with `status`, say all of `says` on stderr, nothing on stdout, and change no file.
    pub fn refuses(&self, line: &str, status: i32, says: &[&str]) -> Done {
        let before = self.files();
        let done = self.run(line);
        assert_eq!(done.status, status, "{line}\n{}{}", done.out, done.err);
        for what in says {
            assert!(done.err.contains(what), "{line}\nexpected {what:?} in\n{}", done.err);
        }
        assert!(!done.err.contains("panicked"), "{line}\n{}", done.err);
        assert_eq!(done.out, "", "{line}");
        assert_eq!(self.files(), before, "{line}: files were left or changed");
        done
    }

    /// Every file and folder below, hidden ones too, with the bytes of files; folders have none.
    pub fn files(&self) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
        let mut found = BTreeMap::new();
        let mut folders = vec![self.0.path().to_path_buf()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_symlink() {
                    continue;
                }
                let name = path.strip_prefix(self.0.path()).unwrap().to_path_buf();
                if path.is_dir() {
                    found.insert(name, None);
                    folders.push(path);
                } else {
                    found.insert(name, Some(fs::read(&path).unwrap_or_default()));
                }
            }
        }
        found
    }

    /// The names of the files in a folder, sorted.
    pub fn names(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(folder)).unwrap();
        let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// The tensors of a run's model.
    pub fn tensors(&self, run: &str) -> BTreeMap<String, Vec<f64>> {
        let bytes = self.read(&format!("{run}/model.safetensors"));
        let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let header: Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
        let data = &bytes[8 + length..];
        let tensors = header.as_object().unwrap().iter().filter(|(name, _)| *name != "__metadata__");
        tensors
            .map(|(name, tensor)| {
                let at = |i: usize| tensor["data_offsets"][i].as_u64().unwrap() as usize;
                let bytes = &data[at(0)..at(1)];
                let numbers = match tensor["dtype"].as_str().unwrap() {
                    "F64" => bytes.as_chunks().0.iter().map(|b| f64::from_le_bytes(*b)).collect(),
                    "F32" => bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b).into()).collect(),
                    other => panic!("{name}: {other}"),
                };
                (name.clone(), numbers)
            })
            .collect()
    }

    /// The bits of the parameters of a run's model.
    pub fn parameters(&self, run: &str) -> Vec<u64> {
        let tensors = self.tensors(run);
        ["weight", "bias"].iter().flat_map(|name| &tensors[*name]).map(|x| x.to_bits()).collect()
    }

    /// The JSON of a run's `metrics.jsonl`.
    pub fn metrics(&self, run: &str) -> Vec<Value> {
        let text = self.text(&format!("{run}/metrics.jsonl"));
        assert!(text.ends_with('\n'));
        text.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
    }
}

impl Done {
    pub fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let status = output.status.code().unwrap_or_else(|| -output.status.signal().unwrap_or_default());
        Self { status, out: text(output.stdout), err: text(output.stderr) }
    }
}

/// The words of a line: cut at blanks, save in single quotes.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![];
    for (i, part) in line.split('\'').enumerate() {
        match i % 2 {
            0 => words.extend(part.split_whitespace().map(String::from)),
            _ => words.push(part.into()),
        }
    }
    words
}

/// Numbers that look random, the same in every run: the 64-bit generator of Knuth's MMIX.
pub struct Numbers(u64);

impl Numbers {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }
    /// Uniform in [0, 1).
    pub fn share(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }
    /// Near normal: mean 0, deviation 1.
    pub fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.share()).sum::<f64>() - 6.0
    }
    pub fn below(&mut self, n: usize) -> usize {
        (self.share() * n as f64) as usize
    }
}

/// A table of two numbers, a category and a target near 2a − b + 3, with a class beside it.
pub fn table(rows: usize) -> Vec<[String; 5]> {
    let mut x = Numbers::new(7);
    (0..rows)
        .map(|_| {
            let (a, b, kind) = (x.normal(), 5.0 + 2.0 * x.normal(), ["red", "green", "blue"][x.below(3)]);
            let y = 2.0 * a - b + 3.0 + 0.1 * x.normal();
            let class = if y + x.normal() > -2.0 { "yes" } else { "no" };
            [a.to_string(), b.to_string(), kind.into(), y.to_string(), class.into()]
        })
        .collect()
}

/// Rows as CSV.
pub fn csv<R: AsRef<[String]>>(header: &str, rows: impl IntoIterator<Item = R>) -> String {
    let mut text = format!("{header}\n");
    for row in rows {
        text.push_str(&row.as_ref().join(","));
        text.push('\n');
    }
    text
}

/// The names of [`table`]'s columns.
pub const HEADER: &str = "a,b,kind,y,class";

/// [`table`] as CSV, with one cell (row from 0, column from 0) replaced.
pub fn table_with(rows: usize, row: usize, column: usize, cell: &str) -> String {
    let mut table = table(rows);
    table[row][column] = cell.into();
    csv(HEADER, table)
}

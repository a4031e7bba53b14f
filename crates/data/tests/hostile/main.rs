//! Bad input: every one gives an error that names the place and the values, and nothing ever panics.

mod any;
mod columns;
mod files;

use thalweg_data::{ReadError, ReadOptions, Table, read_bytes};

fn read(text: impl AsRef<[u8]>) -> Result<Table, ReadError> {
    read_bytes("t.csv", text.as_ref(), &ReadOptions::default())
}

fn message(result: Result<impl std::fmt::Debug, impl std::fmt::Display>) -> String {
    result.expect_err("this input is bad").to_string()
}

//! How are the tables of `testdata/vectors` read?

use std::path::Path;

/// The rows of a table, each with exactly `columns` columns; the table says itself how they are called.
pub(crate) fn rows(file: &str, columns: usize) -> Vec<Vec<String>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/vectors").join(file);
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.lines().any(|line| line.starts_with("# columns: ")), "{file} says nothing of its columns");
    let rows: Vec<Vec<String>> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split(' ').map(str::to_owned).collect())
        .collect();
    for row in &rows {
        assert_eq!(row.len(), columns, "{file}: {row:?}");
        assert!(row.iter().all(|column| !column.is_empty()), "{file}: {row:?}");
    }
    rows
}

/// The bytes that hex digits stand for.
pub(crate) fn unhex(digits: &str) -> Vec<u8> {
    assert!(digits.len().is_multiple_of(2), "{digits}");
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

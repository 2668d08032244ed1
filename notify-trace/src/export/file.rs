//! One Parquet file: rows are gathered, written by columns, and the file gets its name when it is whole.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use parquet::basic::{
    Compression, LogicalType, Repetition, TimeUnit, Type as PhysicalType, ZstdLevel,
};
use parquet::column::writer::ColumnWriter;
use parquet::data_type::ByteArray;
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::Type;

use super::table::{Cell, Kind, Table};
use crate::escape;

/// Rows of a group: what is in memory at once.
const GROUP: usize = 65_536;

/// A column that is gathered.
#[derive(Debug)]
enum Column {
    Numbers(Vec<i64>, Vec<i16>),
    Texts(Vec<ByteArray>, Vec<i16>),
}

impl Column {
    const fn new(kind: Kind) -> Self {
        match kind {
            Kind::Number | Kind::Time => Self::Numbers(Vec::new(), Vec::new()),
            Kind::Text => Self::Texts(Vec::new(), Vec::new()),
        }
    }

    /// A value of another type than the column's counts as not known; the views have none.
    fn push(&mut self, cell: &Cell) {
        match (self, cell) {
            (Self::Numbers(values, levels), Cell::Number(number)) => {
                values.push(*number);
                levels.push(1);
            }
            (Self::Texts(values, levels), Cell::Text(text)) => {
                values.push(ByteArray::from(text.as_str()));
                levels.push(1);
            }
            (Self::Numbers(_, levels) | Self::Texts(_, levels), _) => levels.push(0),
        }
    }
}

/// A file that is written.
pub(super) struct ParquetFile {
    path: PathBuf,
    temporary: PathBuf,
    writer: SerializedFileWriter<BufWriter<File>>,
    columns: Vec<Column>,
    kinds: Vec<Kind>,
    /// Rows that are gathered.
    rows: usize,
    /// All rows.
    all: i64,
}

/// What became of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finished {
    /// It is there.
    Written {
        /// So large.
        bytes: u64,
    },
    /// The one that was there has more rows, and was left.
    Kept,
}

impl ParquetFile {
    /// Begins a file, under another name.
    pub(super) fn create(path: &Path, table: &Table) -> Result<Self> {
        let context = || format!("cannot write {}", escape::path(path));
        let folder = path.parent().with_context(context)?;
        fs::create_dir_all(folder).with_context(context)?;
        // Engines pass over what begins with a dot.
        let mut name = OsString::from(".");
        name.push(path.file_name().with_context(context)?);
        name.push(".part");
        let temporary = path.with_file_name(name);
        let file = File::create(&temporary).with_context(context)?;
        let fields: Result<Vec<_>, _> = table
            .columns
            .iter()
            .map(|(name, kind)| field(name, *kind).map(Arc::new))
            .collect();
        let schema = Type::group_type_builder("schema")
            .with_fields(fields.with_context(context)?)
            .build()
            .with_context(context)?;
        let level = ZstdLevel::try_new(3).with_context(context)?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(level))
            .set_created_by(concat!("notify-trace ", env!("CARGO_PKG_VERSION")).to_owned())
            .build();
        let writer =
            SerializedFileWriter::new(BufWriter::new(file), Arc::new(schema), Arc::new(properties))
                .with_context(context)?;
        let kinds: Vec<Kind> = table.columns.iter().map(|(_, kind)| *kind).collect();
        Ok(Self {
            path: path.to_owned(),
            temporary,
            writer,
            columns: kinds.iter().map(|kind| Column::new(*kind)).collect(),
            kinds,
            rows: 0,
            all: 0,
        })
    }

    /// Adds a row.
    pub(super) fn push(&mut self, cells: &[Cell]) -> Result<()> {
        for (column, cell) in self.columns.iter_mut().zip(cells) {
            column.push(cell);
        }
        self.rows += 1;
        self.all += 1;
        if self.rows >= GROUP {
            self.group()?;
        }
        Ok(())
    }

    /// Writes what was gathered.
    fn group(&mut self) -> Result<()> {
        let context = || format!("cannot write {}", escape::path(&self.path));
        let empty = self.kinds.iter().map(|kind| Column::new(*kind)).collect();
        let columns = std::mem::replace(&mut self.columns, empty);
        self.rows = 0;
        let mut group = self.writer.next_row_group().with_context(context)?;
        for column in columns {
            let Some(mut writer) = group.next_column().with_context(context)? else {
                bail!("{}: there are too many columns", context());
            };
            match (writer.untyped(), column) {
                (ColumnWriter::Int64ColumnWriter(writer), Column::Numbers(values, levels)) => {
                    writer.write_batch(&values, Some(&levels), None)
                }
                (ColumnWriter::ByteArrayColumnWriter(writer), Column::Texts(values, levels)) => {
                    writer.write_batch(&values, Some(&levels), None)
                }
                _ => bail!("{}: a column has another type", context()),
            }
            .with_context(context)?;
            writer.close().with_context(context)?;
        }
        group.close().with_context(context)?;
        Ok(())
    }

    /// Ends the file, and gives it its name when the disk has it; unless what has that name has more rows:
    /// then a limit has deleted some from the recording since.
    pub(super) fn finish(mut self) -> Result<Finished> {
        if self.rows > 0 {
            self.group()?;
        }
        let path = self.path;
        let context = || format!("cannot write {}", escape::path(&path));
        let mut buffer = self.writer.into_inner().with_context(context)?;
        buffer.flush().with_context(context)?;
        let file = buffer
            .into_inner()
            .map_err(std::io::IntoInnerError::into_error);
        let file = file.with_context(context)?;
        file.sync_all().with_context(context)?;
        let bytes = file.metadata().with_context(context)?.len();
        if rows_of(&path).is_some_and(|rows| rows > self.all) {
            fs::remove_file(&self.temporary).with_context(context)?;
            return Ok(Finished::Kept);
        }
        fs::rename(&self.temporary, &path).with_context(context)?;
        if let Some(folder) = path.parent() {
            File::open(folder)
                .and_then(|folder| folder.sync_all())
                .with_context(context)?;
        }
        Ok(Finished::Written { bytes })
    }
}

/// How many rows a file has, if it is one.
fn rows_of(path: &Path) -> Option<i64> {
    let file = File::open(path).ok()?;
    let reader = SerializedFileReader::new(file).ok()?;
    Some(reader.metadata().file_metadata().num_rows())
}

fn field(name: &str, kind: Kind) -> parquet::errors::Result<Type> {
    let physical = match kind {
        Kind::Number | Kind::Time => PhysicalType::INT64,
        Kind::Text => PhysicalType::BYTE_ARRAY,
    };
    let logical = match kind {
        Kind::Number => None,
        Kind::Text => Some(LogicalType::String),
        Kind::Time => Some(LogicalType::timestamp(true, TimeUnit::MICROS)),
    };
    Type::primitive_type_builder(name, physical)
        .with_repetition(Repetition::OPTIONAL)
        .with_logical_type(logical)
        .build()
}

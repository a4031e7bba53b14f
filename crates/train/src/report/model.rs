//! What a report says, as plain data: the writer reads these structs and nothing else of Thalweg.
//!
//! A [`Report`] has a head (title, score, facts) and a list of [`Section`]s; a section has a heading and a
//! list of [`Block`]s, which flow over a page of six columns according to their [`Size`].

use serde::{Deserialize, Serialize};

use super::charts::{Bars, Calibration, Confusion, Contour, Line, Roc, Scatter, Size};

/// One page: what was done, how well it went, and the sections that explain it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The heading, and the browser's window title.
    pub title: String,
    /// One sentence under the heading. `` `code` `` between back-ticks is set in a fixed-width face.
    pub lead: String,
    /// The headline number, if something was scored.
    pub score: Option<Score>,
    /// Short facts beside the score: task, model, optimizer, why it stopped, rows.
    pub facts: Vec<Fact>,
    /// The body, in order.
    pub sections: Vec<Section>,
}

impl Report {
    /// An empty report with a heading.
    pub fn new(title: impl Into<String>) -> Self {
        Report { title: title.into(), ..Report::default() }
    }

    /// Adds a short fact to the head.
    pub fn fact(&mut self, name: impl Into<String>, value: impl Into<String>) -> &mut Self {
        self.facts.push(Fact { name: name.into(), value: value.into() });
        self
    }

    /// Adds a section.
    pub fn section(&mut self, section: Section) -> &mut Self {
        self.sections.push(section);
        self
    }
}

/// The headline: a score on rows used for nothing else, its interval, and what a trivial model scores.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// Name of the metric, as in `accuracy` or `R²`.
    pub metric: String,
    /// The score.
    pub value: f64,
    /// The 95% interval, low and high.
    pub interval: Option<(f64, f64)>,
    /// The name of the trivial model and its score, as in `("majority class", 0.63)`.
    pub baseline: Option<(String, f64)>,
    /// What it was measured on, as in `114 test rows, used for nothing else`.
    pub measured_on: String,
}

/// One short fact of the head.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact {
    /// What it is.
    pub name: String,
    /// Its value, ready to read.
    pub value: String,
}

/// A heading and what stands under it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Section {
    /// The heading; also the entry in the list of contents.
    pub title: String,
    /// A sentence or two that say how to read what follows; may be empty.
    pub intro: String,
    /// The content, in order.
    pub blocks: Vec<Block>,
}

impl Section {
    /// An empty section with a heading.
    pub fn new(title: impl Into<String>) -> Self {
        Section { title: title.into(), ..Section::default() }
    }

    /// The same section with an introduction.
    pub fn intro(mut self, text: impl Into<String>) -> Self {
        self.intro = text.into();
        self
    }

    /// The same section with one more block.
    pub fn with(mut self, block: impl Into<Block>) -> Self {
        self.blocks.push(block.into());
        self
    }
}

/// One thing in a section.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Block {
    /// Paragraphs.
    Text(Text),
    /// Names and values in two columns.
    Pairs(Pairs),
    /// A table of rows.
    Table(Table),
    /// Text to copy: a command, a configuration.
    Code(Code),
    /// Curves.
    Line(Line),
    /// Points, and lines through them.
    Scatter(Scatter),
    /// Counts of true against predicted classes.
    Confusion(Confusion),
    /// True against false positive rate.
    Roc(Roc),
    /// Observed share against predicted probability.
    Calibration(Calibration),
    /// Signed bars, for coefficients.
    Bars(Bars),
    /// Level lines of a function of two variables, and paths over them.
    Contour(Contour),
}

macro_rules! into_block {
    ($($kind:ident),*) => {$(
        impl From<$kind> for Block {
            fn from(block: $kind) -> Block {
                Block::$kind(block)
            }
        }
    )*};
}
into_block!(Text, Pairs, Table, Code, Line, Scatter, Confusion, Roc, Calibration, Bars, Contour);

/// Paragraphs of plain text.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Text {
    /// The text. An empty line starts a paragraph; `` `code` `` between back-ticks is set in a fixed-width
    /// face; nothing else has a meaning.
    pub text: String,
    /// How it is set.
    pub tone: Tone,
}

impl Text {
    /// Plain paragraphs.
    pub fn new(text: impl Into<String>) -> Self {
        Text { text: text.into(), tone: Tone::Plain }
    }

    /// A remark that stands apart.
    pub fn note(text: impl Into<String>) -> Self {
        Text { text: text.into(), tone: Tone::Note }
    }

    /// Something the reader should not miss.
    pub fn warning(text: impl Into<String>) -> Self {
        Text { text: text.into(), tone: Tone::Warning }
    }
}

/// How a text is set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Tone {
    /// As running text.
    #[default]
    Plain,
    /// Set apart.
    Note,
    /// Set apart, with a signal colour and the word *Note*.
    Warning,
}

/// Names and values in two columns: settings, versions, numbers that theory predicts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pairs {
    /// The heading; may be empty.
    pub title: String,
    /// The rows.
    pub rows: Vec<(String, String)>,
    /// How wide.
    pub size: Size,
}

impl Pairs {
    /// An empty list with a heading, half as wide as the page.
    pub fn new(title: impl Into<String>) -> Self {
        Pairs { title: title.into(), rows: Vec::new(), size: Size::Half }
    }

    /// The same list with one more row.
    pub fn row(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.rows.push((name.into(), value.into()));
        self
    }
}

/// A table of rows; a click on a heading sorts it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// The heading; may be empty.
    pub title: String,
    /// A sentence under the heading; may be empty.
    pub note: String,
    /// The columns, left to right.
    pub columns: Vec<Column>,
    /// The rows, top to bottom.
    pub rows: Vec<Row>,
    /// How wide.
    pub size: Size,
}

impl Table {
    /// An empty table, as wide as the page.
    pub fn new(title: impl Into<String>, columns: Vec<Column>) -> Self {
        Table { title: title.into(), columns, ..Table::default() }
    }
}

/// The heading of a column, and which side its cells lean to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// The heading.
    pub name: String,
    /// Numbers lean to the right and have digits of equal width.
    pub number: bool,
}

impl Column {
    /// A column of text.
    pub fn text(name: impl Into<String>) -> Self {
        Column { name: name.into(), number: false }
    }

    /// A column of numbers.
    pub fn number(name: impl Into<String>) -> Self {
        Column { name: name.into(), number: true }
    }
}

/// One row of a [`Table`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The cells; missing ones at the end stay empty.
    pub cells: Vec<Cell>,
    /// A small label beside the first cell, as in *best* or *diverged*.
    pub mark: Option<Mark>,
    /// The colour of a chart's series that this row belongs to, as in [`super::charts::Series::colour`].
    pub colour: Option<usize>,
}

impl Row {
    /// A row without a mark.
    pub fn new(cells: Vec<Cell>) -> Self {
        Row { cells, ..Row::default() }
    }

    /// The same row with a mark.
    pub fn marked(mut self, mark: Mark) -> Self {
        self.mark = Some(mark);
        self
    }

    /// The same row with the colour of series number `index`.
    pub fn coloured(mut self, index: usize) -> Self {
        self.colour = Some(index);
        self
    }
}

/// A small label of a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mark {
    /// Something good, as in *best*, *chosen*.
    Good(String),
    /// Something bad, as in *diverged*.
    Bad(String),
    /// Neither.
    Plain(String),
}

/// One cell of a [`Table`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// What is read.
    pub text: String,
    /// What is sorted by; `None` sorts by the text.
    pub value: Option<f64>,
}

impl Cell {
    /// A number, set with four significant digits; NaN and infinity become a dash.
    pub fn number(value: f64) -> Self {
        Cell { text: super::number::human(value), value: Some(value) }
    }

    /// A number whose text is made by the caller.
    pub fn shown(value: f64, text: impl Into<String>) -> Self {
        Cell { text: text.into(), value: Some(value) }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Cell {
        Cell { text: text.into(), value: None }
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Cell {
        Cell { text, value: None }
    }
}

impl From<f64> for Cell {
    fn from(value: f64) -> Cell {
        Cell::number(value)
    }
}

/// Text to copy, with a button that does so.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Code {
    /// The heading, as in `config.toml`; may be empty.
    pub title: String,
    /// The text, kept to the letter.
    pub text: String,
    /// Long texts (more than 24 lines) fold away unless this is true.
    pub open: bool,
    /// How wide.
    pub size: Size,
}

impl Code {
    /// A text with a heading, as wide as the page.
    pub fn new(title: impl Into<String>, text: impl Into<String>) -> Self {
        Code { title: title.into(), text: text.into(), ..Code::default() }
    }
}

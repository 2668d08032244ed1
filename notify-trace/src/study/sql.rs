//! The studies in SQL that SQLite, DuckDB and Spark read alike.
//!
//! Each study has two views: `STUDY_samples`, a row for each value, and `STUDY`, the numbers of each
//! unit (or what the study is about). Both stand on the view `notifications`, or on a table of that name
//! with the same columns, as the export makes it. A quantile is the value of the nearest rank: the
//! smallest one that at least so many per cent of all don't exceed.

use super::{Source, Study};

/// The per cents of all tables.
pub const PER_CENTS: [u32; 4] = [1, 50, 90, 99];

/// Columns of a sample that say where it is from.
pub const FROM: &str = "session, began_us, host, boot_id, kernel, manager_version, unit, uid, container, runtime, \
                        comm, class, manager";

/// A view for each study's samples and one for its numbers: name and query.
#[must_use]
pub fn views() -> Vec<(String, String)> {
    Study::ALL
        .into_iter()
        .flat_map(|study| {
            let name = study.name();
            [
                (format!("{name}_samples"), samples(study)),
                (name.to_owned(), numbers(study)),
            ]
        })
        .collect()
}

/// The statements that make the views.
#[must_use]
pub fn statements() -> String {
    let statement = |(name, query): (String, String)| format!("CREATE VIEW {name} AS\n{query};\n");
    views()
        .into_iter()
        .map(statement)
        .collect::<Vec<_>>()
        .join("\n")
}

fn samples(study: Study) -> String {
    match study.source() {
        Source::Times(columns) => columns
            .iter()
            .map(|(measure, column)| {
                format!(
                    "SELECT {FROM}, told_class,\n    at_us, number, '{measure}' AS measure, {column} AS value\n\
                     FROM notifications WHERE {column} IS NOT NULL"
                )
            })
            .collect::<Vec<_>>()
            .join("\nUNION ALL\n"),
        Source::Minutes => format!(
            "SELECT {FROM}, NULL AS told_class,\n    at_us - at_us % 60000000 AS at_us, min(number) AS number, \
             'per_minute' AS measure,\n    count(*) AS value\nFROM notifications\nGROUP BY {FROM},\n    \
             at_us - at_us % 60000000"
        ),
        Source::Verdicts => format!(
            "SELECT {FROM}, at_us, last_us, number, kind, certainty, times AS value\nFROM verdicts"
        ),
    }
}

fn numbers(study: Study) -> String {
    let keys = study.key_columns().join(", ");
    let name = study.name();
    if matches!(study.source(), Source::Verdicts) {
        return format!(
            "SELECT {keys}, sum(value) AS n, count(DISTINCT unit) AS units,\n    min(at_us) AS first_us, \
             max(last_us) AS last_us\nFROM {name}_samples\nGROUP BY {keys}"
        );
    }
    let quantiles: Vec<String> = PER_CENTS
        .iter()
        .map(|per_cent| {
            format!("min(CASE WHEN place * 100 >= n * {per_cent} THEN value END) AS p{per_cent}")
        })
        .collect();
    let (source, value) = match study.source() {
        // Of all senders of a unit together, and of each session for itself.
        Source::Minutes => (
            format!(
                "(SELECT {keys}, measure, host, boot_id, began_us, at_us, sum(value) AS value\n        FROM \
                 {name}_samples GROUP BY {keys}, measure, host, boot_id, began_us, at_us) AS minutes"
            ),
            "value",
        ),
        Source::Times(_) | Source::Verdicts => (format!("{name}_samples"), "value"),
    };
    format!(
        "SELECT {keys}, measure, max(n) AS n, min({value}) AS min,\n    {},\n    max({value}) AS max\nFROM (\n    \
         SELECT {keys}, measure, value,\n        row_number() OVER (PARTITION BY {keys}, measure ORDER BY \
         value) AS place,\n        count(*) OVER (PARTITION BY {keys}, measure) AS n\n    FROM {source}\n) AS \
         ranked\nGROUP BY {keys}, measure",
        quantiles.join(",\n    ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `docs/studies.md` has of each study.
    fn document() -> String {
        let mut text = String::new();
        for study in Study::ALL {
            let name = study.name();
            let samples = samples(study);
            let numbers = numbers(study);
            text.push_str(&format!(
                "### {name}\n\n{}.\n\n```sql\n-- {name}_samples\n{samples};\n\n-- {name}\n{numbers};\n```\n\n",
                study.title()
            ));
        }
        text
    }

    #[test]
    fn the_document_has_the_sql_of_every_study() {
        const MARK: &str = "<!-- made by the test the_document_has_the_sql_of_every_study -->\n\n";
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/studies.md");
        let text = std::fs::read_to_string(path).expect("the document");
        let (by_hand, made) = text.split_once(MARK).expect("the mark");
        let document = document();
        if std::env::var_os("UPDATE_SCHEMA").is_some() {
            let text = format!("{by_hand}{MARK}{document}");
            std::fs::write(path, text.trim_end().to_owned() + "\n").expect("writable");
        } else {
            assert_eq!(
                made.trim_end(),
                document.trim_end(),
                "run this test with UPDATE_SCHEMA=1"
            );
        }
    }
}

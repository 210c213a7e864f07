//! CSV (RFC 4180) with a heading: one row per case.

use api::{CaseDocument, Note, Phenotype, Relation, Relative};

use super::{ImportError, Read, checked};

/// The columns that are taken, in any order.
pub const COLUMNS: &[&str] = &[
    "record_number",
    "family_name",
    "given_name",
    "birth_date",
    "sex",
    "email",
    "telephone",
    "postal_code",
    "order_number",
    "indication",
    "phenotypes",
    "note",
    "mother_name",
    "father_name",
];

/// Reads a table; `phenotypes` holds HPO terms with `;` between them, one that was not found after a `-`.
///
/// # Errors
/// Names the record and the column.
pub fn table(bytes: &[u8]) -> Result<Read, ImportError> {
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(bytes);
    let heading = reader.headers().map_err(|_| ImportError::Csv { record: 0 })?.clone();
    let mut columns = Vec::new();
    for (at, name) in (1..).zip(&heading) {
        let known = COLUMNS.iter().copied().find(|column| *column == name);
        match known.filter(|column| !columns.contains(column)) {
            Some(column) => columns.push(column),
            None => return Err(ImportError::Column { column: at }),
        }
    }
    let mut read = Read::default();
    for (record, row) in (1..).zip(reader.records()) {
        let row = row.map_err(|_| ImportError::Csv { record })?;
        let case = read.documents.len() + 1;
        let mut document = CaseDocument::default();
        for (column, cell) in columns.iter().zip(&row).filter(|(_, cell)| !cell.is_empty()) {
            put(&mut document, case, column, cell)?;
        }
        read.documents.push(document);
    }
    checked(read)
}

fn put(
    to: &mut CaseDocument,
    case: usize,
    column: &'static str,
    cell: &str,
) -> Result<(), ImportError> {
    let wrong = |why| ImportError::value(case, column, why);
    let text = Some(cell.to_owned());
    match column {
        "record_number" => to.patient.record_number = text,
        "family_name" => to.patient.family_name = text,
        "given_name" => to.patient.given_name = text,
        "birth_date" => {
            let date = cell.parse().map_err(|_| wrong("is not a date as 1987-03-09"))?;
            to.patient.birth_date = Some(date);
        }
        "sex" => {
            let sex = cell.to_lowercase().parse();
            let sex = sex.map_err(|_| wrong("is not female, male, other or unknown"))?;
            to.patient.sex = Some(sex);
        }
        "email" => to.patient.email = text,
        "telephone" => to.patient.telephone = text,
        "postal_code" => to.patient.postal_code = text,
        "order_number" => to.order_number = text,
        "indication" => to.indication = text,
        "note" => to.notes.push(Note { text: cell.to_owned(), at: None, author: None }),
        "phenotypes" => {
            for term in cell.split(';').map(str::trim).filter(|term| !term.is_empty()) {
                let (excluded, term) = match term.strip_prefix('-') {
                    Some(term) => (true, term),
                    None => (false, term),
                };
                let term = term.trim().parse();
                let term = term.map_err(|_| wrong("is not HPO terms with `;` between them"))?;
                to.phenotypes.push(Phenotype { term, label: None, excluded, onset: None });
            }
        }
        parent => {
            let relation =
                if parent == "mother_name" { Relation::Mother } else { Relation::Father };
            to.relatives.push(Relative {
                relation,
                affected: None,
                family_name: text,
                given_name: None,
                birth_date: None,
                record_number: None,
                sample: None,
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_read_row_by_row() {
        let text = "\u{feff}record_number,family_name,birth_date,sex,phenotypes,mother_name\r\n\
                    17,\"Rossi, jr\",1987-03-09,Female,HP:0001250; -HP:0000252,Bianchi\r\n\
                    18,Verdi,,,,\r\n";
        let read = table(text.as_bytes()).unwrap();
        let first = &read.documents[0];
        assert_eq!(first.patient.family_name.as_deref(), Some("Rossi, jr"));
        assert_eq!(first.patient.sex, Some(api::Sex::Female));
        assert!(first.phenotypes[1].excluded);
        assert_eq!(first.relatives[0].relation, Relation::Mother);
        assert_eq!(read.documents[1].patient.birth_date, None);
    }

    #[test]
    fn what_a_table_may_not_hold_is_named_by_its_place() {
        let told = |text: &str| table(text.as_bytes()).unwrap_err().to_string();
        assert!(told("record_number,nickname\n1,Rossi\n").starts_with("column 2"));
        assert!(told("record_number,record_number\n1,2\n").starts_with("column 2"));
        let dates = "record_number,birth_date\n1,1987-03-09\n2,Rossi\n";
        assert_eq!(told(dates), "case 2: `birth_date` is not a date as 1987-03-09");
        assert!(told("record_number\n1,2\n").starts_with("record 1"));
    }
}

//! The embedded engine's stream of the table: what each write changed, kept for a while and read from the oldest on.

use dynoxide::storage::Storage as Engine;
use dynoxide::{Database as Dynoxide, DynoxideError, streams};
use serde_json::{Value as Json, json};
use std::path::Path;
use std::sync::Arc;

use crate::clock::Clock;
use crate::database::from_json;
use crate::layers::embedded::EmbeddedDatabase;

/// The engine looks for a stream's last record with each write, and never deletes one. So: an index, and as in DynamoDB 24
/// hours (<https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Streams.html>), but 10,000 records at most. An
/// insertion looks at the two oldest records only.
const SCHEMA: &str = "
    CREATE INDEX IF NOT EXISTS stream_order ON _stream_records (table_name, CAST(sequence_number AS INTEGER));
    CREATE TRIGGER IF NOT EXISTS stream_retention AFTER INSERT ON _stream_records BEGIN
        DELETE FROM _stream_records
        WHERE id IN (SELECT id FROM _stream_records ORDER BY id LIMIT 2)
            AND (id <= NEW.id - 10000 OR created_at < NEW.created_at - 86400);
    END;";

/// Records of one read at most, as in DynamoDB.
const READ_MAX: usize = 1000;

/// Opens an engine over a file, whose streams stay short.
pub(crate) fn in_file(file: &Path) -> Result<Dynoxide, DynoxideError> {
    let path = file.to_string_lossy();
    prepare(&path)?;
    Dynoxide::new(&path)
}

/// Opens an engine in memory, whose streams stay short, and which goes by `clock`.
pub(crate) fn in_memory(clock: &Clock) -> Result<Dynoxide, DynoxideError> {
    let engine = Dynoxide::memory_with_clock(Arc::new(clock.clone()))?;
    // Nobody else reaches its memory: the schema enters it as a snapshot, which is in memory too, by a name of its own.
    // <https://www.sqlite.org/inmemorydb.html>
    let snapshot = format!("file:{}?mode=memory&cache=shared", uuid::Uuid::now_v7().simple());
    let _open = prepare(&snapshot)?;
    engine.restore_from(&snapshot)?;
    Ok(engine)
}

fn prepare(path: &str) -> Result<Engine, DynoxideError> {
    let engine = Engine::new(path)?;
    let failed = |error| DynoxideError::InternalServerError(format!("the stream's schema: {error}"));
    engine.conn().execute_batch(SCHEMA).map_err(failed)?;
    Ok(engine)
}

/// A reader of the table's stream.
#[derive(Debug)]
pub struct TableStream {
    database: EmbeddedDatabase,
    arn: String,
    iterator: String,
}

impl TableStream {
    /// Reads from the oldest record that is kept.
    pub(crate) fn from_oldest(database: EmbeddedDatabase, table: &str) -> Result<Self, DynoxideError> {
        let engine = database.engine().ok_or_else(closed)?;
        let label = engine.get_table_metadata(table)?.and_then(|metadata| metadata.stream_label).unwrap_or_default();
        let arn = streams::stream_arn(table, &label);
        let request = from_json(json!({
            "StreamArn": arn,
            "ShardId": streams::shard_id(table),
            "ShardIteratorType": "TRIM_HORIZON",
        }))?;
        let iterator = engine.get_shard_iterator(request)?.shard_iterator.unwrap_or_default();
        Ok(Self { database, arn, iterator })
    }

    /// The next records in their order, as an event has them; none if there is nothing new.
    ///
    /// # Errors
    /// The database is closed, or its table gone.
    pub fn read(&mut self, limit: usize) -> Result<Vec<Json>, DynoxideError> {
        let engine = self.database.engine().ok_or_else(closed)?;
        let request = from_json(json!({ "ShardIterator": self.iterator, "Limit": limit.min(READ_MAX) }))?;
        let reply = engine.get_records(request)?;
        if let Some(next) = reply.next_shard_iterator {
            self.iterator = next;
        }
        let records = reply.records.into_iter().map(|record| {
            let mut record = serde_json::to_value(record).unwrap_or_default();
            record["eventSourceARN"] = self.arn.clone().into();
            record
        });
        Ok(records.collect())
    }
}

fn closed() -> DynoxideError {
    DynoxideError::InternalServerError("the embedded database is closed".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(engine: &Dynoxide) {
        let table = json!({
            "TableName": "changes",
            "AttributeDefinitions": [{ "AttributeName": "pk", "AttributeType": "S" }],
            "KeySchema": [{ "AttributeName": "pk", "KeyType": "HASH" }],
            "BillingMode": "PAY_PER_REQUEST",
            "StreamSpecification": { "StreamEnabled": true, "StreamViewType": "NEW_AND_OLD_IMAGES" },
        });
        engine.create_table(from_json(table).expect("a request")).expect("a table");
    }

    fn put(engine: &Dynoxide, number: usize) {
        let item = json!({ "pk": { "S": "one" }, "number": { "N": number.to_string() } });
        let put = from_json(json!({ "TableName": "changes", "Item": item })).expect("a request");
        engine.put_item(put).expect("it is put");
    }

    /// All that is read, by batches.
    fn numbers(stream: &mut TableStream) -> Vec<usize> {
        let mut numbers = Vec::new();
        loop {
            let records = stream.read(usize::MAX).expect("it reads");
            if records.is_empty() {
                return numbers;
            }
            let number = |record: &Json| record["dynamodb"]["NewImage"]["number"]["N"].as_str()?.parse::<usize>().ok();
            numbers.extend(records.iter().filter_map(number));
        }
    }

    #[test]
    fn a_stream_gives_each_change_once_in_order_and_keeps_ten_thousand() {
        let engine = in_memory(&Clock::system()).expect("a database");
        table(&engine);
        let database = EmbeddedDatabase::new("http://127.0.0.1".to_owned(), engine.clone());
        let mut stream = TableStream::from_oldest(database.clone(), "changes").expect("a stream");
        (0..1500).for_each(|number| put(&engine, number));
        assert_eq!(numbers(&mut stream), (0..1500).collect::<Vec<_>>());
        (1500..10_100).for_each(|number| put(&engine, number));
        assert_eq!(numbers(&mut stream), (1500..10_100).collect::<Vec<_>>());
        let mut again = TableStream::from_oldest(database, "changes").expect("a stream");
        assert_eq!(numbers(&mut again), (100..10_100).collect::<Vec<_>>(), "no more than that is kept");
    }

    /// What the engine asks at each write and each read: without the index both look at every record there is.
    #[test]
    fn the_engine_finds_its_place_in_the_stream_by_an_index() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("db.sqlite");
        drop(in_file(&file).expect("a database"));
        let engine = Engine::new(&file.to_string_lossy()).expect("the same");
        for (query, found) in [
            (
                "SELECT COALESCE(MAX(CAST(sequence_number AS INTEGER)), 0) + 1 FROM _stream_records WHERE table_name = 't'",
                "SEARCH _stream_records USING COVERING INDEX stream_order",
            ),
            (
                "SELECT keys_json FROM _stream_records WHERE table_name = 't' AND shard_id = 's'
                 AND CAST(sequence_number AS INTEGER) > 5 ORDER BY CAST(sequence_number AS INTEGER) ASC LIMIT 9",
                "SEARCH _stream_records USING INDEX stream_order",
            ),
        ] {
            let plan =
                engine.conn().query_row(&format!("EXPLAIN QUERY PLAN {query}"), [], |row| row.get::<_, String>(3));
            let plan = plan.expect("a plan");
            assert!(plan.starts_with(found), "{plan}");
        }
    }
}

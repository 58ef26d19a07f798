-- What a reconciliation found missing from its bucket; append-only. It is a table of its own, so the rows
-- of the registry stay as they are, and an older table of nine columns needs no change.

CREATE TABLE IF NOT EXISTS `${project}.${dataset}.vanished` (
  gcs_bucket STRING NOT NULL OPTIONS (description = "The bucket"),
  gcs_path STRING NOT NULL OPTIONS (description = "The object's name, without gs://bucket/"),
  generation INT64 OPTIONS (description = "The newest generation that was registered; NULL where its row has none"),
  upload_timestamp TIMESTAMP OPTIONS (description = "The upload of that generation"),
  found_at TIMESTAMP NOT NULL OPTIONS (description = "When it was found not to be there")
)
CLUSTER BY gcs_bucket, gcs_path
OPTIONS (description = "Artifacts that are no longer in their bucket; append-only");

-- What reconciliation found to be gone from its bucket; append-only. A table beside the registry's, so
-- that rows which were written stay as they are, and a table of nine columns needs no change.
-- Can be run again at any time. ${project} and ${dataset} are filled in by whoever runs it.

CREATE TABLE IF NOT EXISTS `${project}.${dataset}.vanished` (
  gcs_bucket STRING NOT NULL OPTIONS (description = "The bucket"),
  gcs_path STRING NOT NULL OPTIONS (description = "The object's name, without gs://bucket/"),
  generation INT64 OPTIONS (description = "The newest generation that was registered; NULL where its row has none"),
  upload_timestamp TIMESTAMP OPTIONS (description = "The upload of that generation"),
  found_at TIMESTAMP NOT NULL OPTIONS (description = "When it was found not to be there")
)
CLUSTER BY gcs_bucket, gcs_path
OPTIONS (description = "Artifacts that are no longer in their bucket; append-only");

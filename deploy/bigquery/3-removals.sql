-- When a generation of an artifact stopped being live in its bucket; append-only. It is a table of its own, so the
-- rows of the registry stay as they are, and an older table of nine columns needs no change.
--
-- A row without removed_at takes back the earlier ones: what was gone is there again, under the same generation, or was
-- gone for a moment only. Its recorded_at is when the reconciliation that saw it began.

CREATE TABLE IF NOT EXISTS `${project}.${dataset}.removals` (
  gcs_bucket STRING NOT NULL OPTIONS (description = "The bucket"),
  gcs_path STRING NOT NULL OPTIONS (description = "The object's name, without gs://bucket/"),
  generation INT64 OPTIONS (description = "Which write of the object; NULL where its registration has none"),
  upload_timestamp TIMESTAMP OPTIONS (description = "When Cloud Storage completed this generation"),
  removed_at TIMESTAMP OPTIONS (description = "When it stopped being live, or was found missing; NULL: it is live again"),
  recorded_at TIMESTAMP NOT NULL OPTIONS (description = "When this row was made"),
  recorded_by STRING NOT NULL OPTIONS (description = "The event, deleted or archived, or reconciliation")
)
CLUSTER BY gcs_bucket, gcs_path
OPTIONS (description = "Generations that are no longer live in their bucket; append-only");

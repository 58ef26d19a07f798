-- The registry's table: one row for each registration, never changed, never deleted.

CREATE TABLE IF NOT EXISTS `${project}.${dataset}.${table}` (
  model_name STRING NOT NULL OPTIONS (description = "First segment of the object's name"),
  model_version INT64 NOT NULL OPTIONS (description = "Second segment of the object's name, v<N>"),
  environment STRING NOT NULL OPTIONS (description = "dev, staging or prod: the end of the bucket's name"),
  gcs_bucket STRING NOT NULL OPTIONS (description = "The bucket"),
  gcs_path STRING NOT NULL OPTIONS (description = "The object's name, without gs://bucket/"),
  file_size_bytes INT64 OPTIONS (description = "The object's size"),
  upload_timestamp TIMESTAMP OPTIONS (description = "When Cloud Storage completed this generation"),
  uploader STRING OPTIONS (description = "The object's custom metadata uploader, NULL when not set"),
  registered_at TIMESTAMP NOT NULL OPTIONS (description = "When the function made this row"),
  generation INT64 OPTIONS (description = "Which write of the object this is"),
  crc32c STRING OPTIONS (description = "Checksum of the content, base64"),
  md5_hash STRING OPTIONS (description = "Checksum of the content, base64; NULL for a composite object"),
  metadata JSON OPTIONS (description = "The object's custom metadata")
)
PARTITION BY DATE(registered_at)
CLUSTER BY model_name, environment, model_version
OPTIONS (description = "Uploads of model artifacts; append-only");

-- An older table may have the first nine columns alone. No row is touched. A new table must not need this:
-- a column that is added later takes some minutes to reach BigQuery's streaming.

ALTER TABLE `${project}.${dataset}.${table}`
  ADD COLUMN IF NOT EXISTS generation INT64 OPTIONS (description = "Which write of the object this is"),
  ADD COLUMN IF NOT EXISTS crc32c STRING OPTIONS (description = "Checksum of the content, base64"),
  ADD COLUMN IF NOT EXISTS md5_hash STRING OPTIONS (description = "Checksum of the content, base64; NULL for a composite object"),
  ADD COLUMN IF NOT EXISTS metadata JSON OPTIONS (description = "The object's custom metadata");

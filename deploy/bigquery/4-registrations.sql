-- Exactly one row for each generation of an object: the first that was written. An event that came twice,
-- more than a minute apart, is two rows in the table. Rows that are older than the column generation are
-- distinguished by the time of their upload.
--
-- An object's name and bucket imply its model, version and environment. They are in the window too, so that
-- BigQuery applies a filter on them to the table, which is clustered by them, and not to the result.

CREATE OR REPLACE VIEW `${project}.${dataset}.registrations`
OPTIONS (description = "One row for each generation of an artifact")
AS
SELECT
  model_name,
  model_version,
  environment,
  gcs_bucket,
  gcs_path,
  file_size_bytes,
  upload_timestamp,
  uploader,
  registered_at,
  generation,
  crc32c,
  md5_hash,
  metadata
FROM `${project}.${dataset}.${table}`
WHERE TRUE
QUALIFY ROW_NUMBER() OVER (
  PARTITION BY
    model_name,
    environment,
    model_version,
    gcs_bucket,
    gcs_path,
    generation,
    IF(generation IS NULL, upload_timestamp, NULL)
  ORDER BY registered_at
) = 1;

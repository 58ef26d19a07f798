-- Exactly one row for each generation of an object, with the best that is known of it. An event that came twice,
-- more than a minute apart, is two rows in the table. A row without its generation, which is older than that column
-- or missed it while it was new, is known by the time of its upload; a reconciliation adds a complete row to it.
-- registered_at is that of the first.
--
-- An object's name and bucket imply its model, version and environment. They are in the windows too, so that
-- BigQuery applies a filter on them to the table, which is clustered by them, and not to the result.

CREATE OR REPLACE VIEW `${project}.${dataset}.registrations`
OPTIONS (description = "One row for each generation of an artifact")
AS
WITH
  identified AS (
    SELECT
      *,
      IFNULL(
        generation,
        MAX(generation) OVER (
          PARTITION BY
            model_name,
            environment,
            model_version,
            gcs_bucket,
            gcs_path,
            TIMESTAMP_TRUNC(upload_timestamp, MILLISECOND)
        )
      ) AS identity
    FROM `${project}.${dataset}.${table}`
  )
SELECT
  model_name,
  model_version,
  environment,
  gcs_bucket,
  gcs_path,
  file_size_bytes,
  upload_timestamp,
  uploader,
  MIN(identified.registered_at) OVER written AS registered_at,
  generation,
  crc32c,
  md5_hash,
  metadata
FROM identified
WHERE TRUE
QUALIFY ROW_NUMBER() OVER (
  written
  ORDER BY generation IS NULL, crc32c IS NULL, identified.registered_at
) = 1
WINDOW written AS (
  PARTITION BY
    model_name,
    environment,
    model_version,
    gcs_bucket,
    gcs_path,
    identity,
    IF(identity IS NULL, upload_timestamp, NULL)
);

-- Exactly one row for each generation of an object, with the best that is known of it. An event that came twice, more
-- than a minute apart, is two rows in the table; a reconciliation adds a row with what has changed. A row without its
-- generation, which is older than that column or missed it while it was new, is known by the time of its upload.
-- registered_at is that of the first.
--
-- removed_at is when the generation stopped being live, also because it was overwritten; NULL while it is live.
--
-- as_of asks for what was true at a time, by Cloud Storage's own times, whenever it was recorded; NULL is now.
--
-- An object's name and bucket imply its model, version and environment. They are in the windows too, so that
-- BigQuery applies a filter on them to the table, which is clustered by them, and not to the result.

CREATE OR REPLACE TABLE FUNCTION `${project}.${dataset}.registrations_at`(as_of TIMESTAMP)
AS (
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
      WHERE as_of IS NULL OR IFNULL(upload_timestamp, registered_at) <= as_of
    ),
    facts AS (
      SELECT
        gcs_bucket,
        gcs_path,
        generation,
        TIMESTAMP_TRUNC(upload_timestamp, MILLISECOND) AS upload,
        removed_at,
        MAX(IF(removed_at IS NULL, recorded_at, NULL)) OVER (
          PARTITION BY gcs_bucket, gcs_path, generation, upload_timestamp
        ) AS live_at
      FROM `${project}.${dataset}.removals`
      WHERE as_of IS NULL OR IFNULL(removed_at, recorded_at) <= as_of
    ),
    gone AS (
      SELECT gcs_bucket, gcs_path, generation, upload, MIN(removed_at) AS removed_at
      FROM facts
      WHERE live_at IS NULL OR removed_at > live_at
      GROUP BY gcs_bucket, gcs_path, generation, upload
    )
  SELECT
    identified.model_name,
    identified.model_version,
    identified.environment,
    identified.gcs_bucket,
    identified.gcs_path,
    identified.file_size_bytes,
    identified.upload_timestamp,
    NULLIF(identified.uploader, '') AS uploader,
    MIN(identified.registered_at) OVER written AS registered_at,
    identified.generation,
    identified.crc32c,
    identified.md5_hash,
    identified.metadata,
    MIN(gone.removed_at) OVER written AS removed_at
  FROM identified
  LEFT JOIN gone
    ON identified.gcs_bucket = gone.gcs_bucket
    AND identified.gcs_path = gone.gcs_path
    AND IF(
      identity IS NULL,
      TIMESTAMP_TRUNC(identified.upload_timestamp, MILLISECOND) IS NOT DISTINCT FROM gone.upload,
      identity = gone.generation
    )
  WHERE TRUE
  QUALIFY ROW_NUMBER() OVER (
    written
    ORDER BY
      identified.generation IS NULL,
      identified.crc32c IS NULL,
      identified.registered_at DESC
  ) = 1
  WINDOW written AS (
    PARTITION BY
      identified.model_name,
      identified.environment,
      identified.model_version,
      identified.gcs_bucket,
      identified.gcs_path,
      identity,
      IF(identity IS NULL, identified.upload_timestamp, NULL)
  )
);

CREATE OR REPLACE VIEW `${project}.${dataset}.registrations`
OPTIONS (description = "One row for each generation of an artifact")
AS SELECT * FROM `${project}.${dataset}.registrations_at`(NULL);

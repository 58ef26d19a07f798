-- One row for each generation of an object, with the best that is known of it. The table can have several: an event
-- that came twice, more than a minute apart, or what a reconciliation added later. A fact that lacks its generation
-- belongs to the write of the same upload time. registered_at is that of the first row.
--
-- removed_at is when the generation stopped being live, also because it was overwritten; NULL while it is live.
-- The earliest removal counts, after the last time that it was found live again.
--
-- as_of asks what was true at a time, by Cloud Storage's own times, whenever it was recorded. NULL is now.
--
-- An object's name and bucket imply its model, version and environment. They are in the windows too, so that
-- BigQuery applies a filter on them to the table, which is clustered by them, and not to the result.

CREATE OR REPLACE TABLE FUNCTION `${project}.${dataset}.registrations_at`(as_of TIMESTAMP)
AS (
  WITH
    removals AS (
      SELECT
        REGEXP_EXTRACT(gcs_path, '^[^/]*') AS model_name,
        SAFE_CAST(REGEXP_EXTRACT(gcs_path, '^[^/]*/v0*([0-9]+)/') AS INT64) AS model_version,
        REGEXP_EXTRACT(gcs_bucket, r'[^-]*\z') AS environment,
        gcs_bucket,
        gcs_path,
        generation,
        TIMESTAMP_TRUNC(upload_timestamp, MILLISECOND) AS upload,
        removed_at,
        recorded_at
      FROM `${project}.${dataset}.removals`
      WHERE as_of IS NULL OR IFNULL(removed_at, recorded_at) <= as_of
    ),
    in_force AS (
      SELECT
        *,
        MAX(IF(removed_at IS NULL, recorded_at, NULL)) OVER (
          PARTITION BY
            model_name,
            environment,
            model_version,
            gcs_bucket,
            gcs_path,
            generation,
            IF(generation IS NULL, upload, NULL)
        ) AS live_at
      FROM removals
      WHERE TRUE
      QUALIFY IFNULL(removed_at > live_at, removed_at IS NOT NULL)
    ),
    facts AS (
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
        metadata,
        TIMESTAMP_TRUNC(upload_timestamp, MILLISECOND) AS upload,
        CAST(NULL AS TIMESTAMP) AS removed_at
      FROM `${project}.${dataset}.${table}`
      WHERE as_of IS NULL OR IFNULL(upload_timestamp, registered_at) <= as_of
      UNION ALL
      SELECT
        model_name,
        model_version,
        environment,
        gcs_bucket,
        gcs_path,
        NULL AS file_size_bytes,
        NULL AS upload_timestamp,
        NULL AS uploader,
        NULL AS registered_at,
        generation,
        NULL AS crc32c,
        NULL AS md5_hash,
        NULL AS metadata,
        upload,
        removed_at
      FROM in_force
    ),
    identified AS (
      SELECT
        *,
        IFNULL(
          generation,
          MAX(generation) OVER (
            PARTITION BY model_name, environment, model_version, gcs_bucket, gcs_path, upload
          )
        ) AS identity
      FROM facts
    )
  SELECT
    model_name,
    model_version,
    environment,
    gcs_bucket,
    gcs_path,
    file_size_bytes,
    upload_timestamp,
    NULLIF(uploader, '') AS uploader,
    MIN(identified.registered_at) OVER written AS registered_at,
    generation,
    crc32c,
    md5_hash,
    metadata,
    MIN(identified.removed_at) OVER written AS removed_at
  FROM identified
  WHERE TRUE
  QUALIFY
    identified.registered_at IS NOT NULL
    AND ROW_NUMBER() OVER (
      written
      ORDER BY
        identified.registered_at IS NULL,
        generation IS NULL,
        crc32c IS NULL,
        identified.registered_at DESC
    ) = 1
  WINDOW written AS (
    PARTITION BY
      model_name,
      environment,
      model_version,
      gcs_bucket,
      gcs_path,
      identity,
      IF(identity IS NULL, upload, NULL)
  )
);

CREATE OR REPLACE VIEW `${project}.${dataset}.registrations`
OPTIONS (description = "One row for each generation of an artifact")
AS SELECT * FROM `${project}.${dataset}.registrations_at`(NULL);

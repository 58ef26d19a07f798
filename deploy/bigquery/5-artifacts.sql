-- One row for each artifact, as its newest registration describes it. Events come in any order, and
-- neither their order nor that of the generations says which write is the newest: the time of the
-- upload does. Where an old row lacks it, the time of the registration has to do.
--
-- gone_since is when reconciliation found that the artifact is no longer in its bucket; NULL as long as
-- it is. It is about that generation, or, where a row has none, about that upload: with a newer one the
-- artifact is there again.

CREATE OR REPLACE VIEW `${project}.${dataset}.artifacts`
OPTIONS (description = "One row for each artifact: its newest registration")
AS
WITH
  newest AS (
    SELECT
      *,
      MIN(IFNULL(upload_timestamp, registered_at)) OVER artifact AS first_upload_timestamp,
      COUNT(*) OVER artifact - 1 AS overwrites
    FROM `${project}.${dataset}.registrations`
    WHERE TRUE
    QUALIFY ROW_NUMBER() OVER (
      artifact
      ORDER BY IFNULL(upload_timestamp, registered_at) DESC, generation DESC, registered_at DESC
    ) = 1
    WINDOW artifact AS (
      PARTITION BY model_name, environment, model_version, gcs_bucket, gcs_path
    )
  ),
  gone AS (
    SELECT
      gcs_bucket,
      gcs_path,
      COALESCE(generation, -UNIX_MICROS(upload_timestamp), 0) AS gone_upload,
      MIN(found_at) AS gone_since
    FROM `${project}.${dataset}.vanished`
    GROUP BY gcs_bucket, gcs_path, gone_upload
  )
SELECT
  newest.*,
  gone.gone_since
FROM newest
LEFT JOIN gone
  ON newest.gcs_bucket = gone.gcs_bucket
  AND newest.gcs_path = gone.gcs_path
  AND COALESCE(newest.generation, -UNIX_MICROS(newest.upload_timestamp), 0) = gone.gone_upload;

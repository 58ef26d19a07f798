-- One row for each model version: when it reached each environment, when it was last uploaded there and when it was
-- removed, and whether it is the same there as in the environment before.

CREATE OR REPLACE TABLE FUNCTION `${project}.${dataset}.promotions_at`(as_of TIMESTAMP)
AS (
  SELECT
    model_name,
    model_version,
    MIN(IF(environment = 'dev', first_upload_timestamp, NULL)) AS dev_upload_timestamp,
    MIN(IF(environment = 'staging', first_upload_timestamp, NULL)) AS staging_upload_timestamp,
    MIN(IF(environment = 'prod', first_upload_timestamp, NULL)) AS prod_upload_timestamp,
    MAX(staging_vs_dev) AS staging_vs_dev,
    MAX(prod_vs_staging) AS prod_vs_staging,
    MAX(IF(environment = 'dev', last_upload_timestamp, NULL)) AS dev_last_upload_timestamp,
    MAX(IF(environment = 'staging', last_upload_timestamp, NULL)) AS staging_last_upload_timestamp,
    MAX(IF(environment = 'prod', last_upload_timestamp, NULL)) AS prod_last_upload_timestamp,
    MAX(IF(environment = 'dev', removed_at, NULL)) AS dev_removed_at,
    MAX(IF(environment = 'staging', removed_at, NULL)) AS staging_removed_at,
    MAX(IF(environment = 'prod', removed_at, NULL)) AS prod_removed_at
  FROM `${project}.${dataset}.model_versions_at`(as_of)
  GROUP BY model_name, model_version
);

CREATE OR REPLACE VIEW `${project}.${dataset}.promotions`
OPTIONS (description = "One row for each model version: when it reached each environment")
AS SELECT * FROM `${project}.${dataset}.promotions_at`(NULL);

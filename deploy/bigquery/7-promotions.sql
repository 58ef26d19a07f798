-- One row for each model version: when it first reached each environment, and whether it is the same
-- there as in the environment before.

CREATE OR REPLACE VIEW `${project}.${dataset}.promotions`
OPTIONS (description = "One row for each model version: when it reached each environment")
AS
SELECT
  model_name,
  model_version,
  MIN(IF(environment = 'dev', first_upload_timestamp, NULL)) AS dev_upload_timestamp,
  MIN(IF(environment = 'staging', first_upload_timestamp, NULL)) AS staging_upload_timestamp,
  MIN(IF(environment = 'prod', first_upload_timestamp, NULL)) AS prod_upload_timestamp,
  MAX(staging_vs_dev) AS staging_vs_dev,
  MAX(prod_vs_staging) AS prod_vs_staging
FROM `${project}.${dataset}.model_versions`
GROUP BY model_name, model_version;

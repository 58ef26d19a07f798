-- The function's access, as the account of one environment. One GRANT a line: a script runs only those
-- that are missing.
--
-- A row is appended through tabledata.insertAll, which also looks at the dataset (this role shows no
-- row). On the two tables alone, because BigQuery has no smaller role for appending than dataEditor.

GRANT `roles/bigquery.metadataViewer` ON SCHEMA `${project}`.${dataset} TO "${member}";
GRANT `roles/bigquery.dataEditor` ON TABLE `${project}`.${dataset}.`${table}` TO "${member}";
GRANT `roles/bigquery.dataEditor` ON TABLE `${project}`.${dataset}.removals TO "${member}";

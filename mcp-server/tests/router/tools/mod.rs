//! Tests the four tools as users with different rights.

mod arguments;
mod get_run_failure_logs;
mod list_deployments;
mod list_pipeline_runs;
mod trigger_pipeline_run;

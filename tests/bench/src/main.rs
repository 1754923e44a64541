//! `behalf-bench`: measures the sidecar beside a direct call and nginx. `make bench` and `make bench-gate` run it.

mod bars;
mod call;
mod connection;
mod cores;
mod cpu_time;
mod delaying_proxy;
mod error;
mod footprint;
mod gate;
mod generator;
mod pacer;
mod page;
mod plot;
mod process;
mod rounds;
mod stub_server;
mod subjects;
mod summary;
mod surroundings;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use self::cores::SubjectCore;
use self::error::{BenchError, Step as _};
use self::rounds::Plan;
use self::subjects::{Kind, Store, Subject};
use self::summary::Summary;
use self::surroundings::Surroundings;

/// Measures the speed of the auth sidecar.
#[derive(Parser)]
#[command(name = "behalf-bench", version, about)]
struct Cli {
    /// The sidecar's binary. Absent: the one beside this binary.
    #[arg(long, global = true)]
    sidecar: Option<PathBuf>,

    #[command(subcommand)]
    form: Form,
}

#[derive(Subcommand)]
enum Form {
    /// Measure everything, print the tables, and write the page.
    Run(Size),

    /// Compare ratios with bounds, in about 30 s.
    Gate,

    /// Measure memory, calls by sessions, logins and refreshes of one sidecar alone, and print the table.
    Footprint(OneSidecar),
}

#[derive(Args)]
struct OneSidecar {
    /// Number of sessions.
    #[arg(long, default_value_t = 10_000)]
    sessions: u32,

    /// Number of open event streams.
    #[arg(long, default_value_t = 1000)]
    streams: u32,

    /// Calls per second. Under valgrind a sidecar answers a hundred at most.
    #[arg(long, default_value_t = footprint::RATE)]
    rate: u32,
}

#[derive(Args)]
struct Size {
    /// Calls per second.
    #[arg(long, value_delimiter = ',', default_value = "500,1000,2000")]
    rates: Vec<u32>,

    /// Number of rounds.
    #[arg(long, default_value_t = 5)]
    rounds: usize,

    /// Duration of each measurement in seconds.
    #[arg(long, default_value_t = 5)]
    seconds: u64,

    /// Number of sessions in memory of which memory and CPU time are measured. In Redis it is a tenth, because the memory of
    /// Redis is not measured.
    #[arg(long, default_value_t = 100_000)]
    sessions: u32,

    /// Number of open event streams of which memory is measured.
    #[arg(long, default_value_t = 1000)]
    streams: u32,

    /// A Python with `FastMCP`. Absent: it is not measured.
    #[arg(long)]
    fastmcp: Option<PathBuf>,

    /// The file for the page. The plots are written beside it. Absent: the tables are only printed.
    #[arg(long)]
    page: Option<PathBuf>,
}

fn main() -> ExitCode {
    match start(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start(cli: Cli) -> Result<(), BenchError> {
    let core = SubjectCore::take()?;
    let sidecar = match cli.sidecar {
        Some(path) => path,
        None => std::env::current_exe()
            .step("find this binary")?
            .with_file_name("behalf-auth-sidecar"),
    };
    // One thread: generator and server share one core in any case.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .step("start tokio")?;
    match cli.form {
        Form::Run(size) => runtime.block_on(run(size, core, sidecar)),
        Form::Gate => runtime.block_on(run_gate(core, sidecar)),
        Form::Footprint(size) => runtime.block_on(run_footprint(size, core, sidecar)),
    }
}

async fn run(size: Size, core: SubjectCore, sidecar: PathBuf) -> Result<(), BenchError> {
    let around = Surroundings::start().await?;
    let mut subjects = vec![
        Subject::direct(&around),
        Subject::nginx(&around, core).await?,
        Subject::sidecar(&around, core, &sidecar, Kind::SidecarHeader).await?,
        Subject::sidecar(&around, core, &sidecar, Kind::SidecarArgument).await?,
        Subject::sidecar(&around, core, &sidecar, Kind::SidecarRedis).await?,
    ];
    if let Some(python) = &size.fastmcp {
        subjects.push(Subject::fastmcp(&around, core, python).await?);
    }
    let plan = Plan {
        rates: size.rates,
        time: Duration::from_secs(size.seconds),
        rounds: size.rounds,
    };
    let (rounds, noisy) = rounds::run(&subjects, &plan).await?;
    let summary = Summary::of(&rounds);
    drop(subjects);
    print(&page::tables(&summary));
    let mut footprints = Vec::new();
    for (store, sessions) in [(Store::Memory, size.sessions), (Store::Redis, size.sessions / 10)] {
        let load = footprint::Load {
            sessions,
            streams: size.streams,
            rate: footprint::RATE,
        };
        footprints.push(footprint::measure(&around, core, &sidecar, store, load).await?);
    }
    print(&page::footprints(&footprints));
    print(&bars::table(&summary, &footprints));
    if let Some(path) = size.page {
        let highest = plan.rates.iter().copied().max().unwrap_or_default();
        let bytes = std::fs::metadata(&sidecar)
            .step("look at the sidecar's binary")?
            .len();
        let page = page::page(&summary, &footprints, &plan, noisy, bytes);
        write(&path, &page)?;
        write(
            &path.with_file_name("performance-latency.svg"),
            &plot::added(&summary, highest),
        )?;
        write(
            &path.with_file_name("performance-limit.svg"),
            &plot::limit(&summary),
        )?;
    }
    Ok(())
}

async fn run_gate(core: SubjectCore, sidecar: PathBuf) -> Result<(), BenchError> {
    let around = Surroundings::start().await?;
    let slowed = Subject::sidecar(&around, core, &sidecar, Kind::Slowed).await?;
    let subjects = [
        Subject::direct(&around),
        Subject::nginx(&around, core).await?,
        Subject::sidecar(&around, core, &sidecar, Kind::SidecarHeader).await?,
        slowed.slowed(gate::PLANTED).await?,
    ];
    // Other work on the core of the programs slows down one of them and not the others. It rarely does so twice.
    if let Err(error) = compare(&subjects).await {
        print(&format!("Measuring once more, because {error}\n"));
        compare(&subjects).await?;
    }
    print("The sidecar is within the bounds, and the planted slowdown is not.\n");
    Ok(())
}

async fn run_footprint(size: OneSidecar, core: SubjectCore, sidecar: PathBuf) -> Result<(), BenchError> {
    let around = Surroundings::start().await?;
    let load = footprint::Load {
        sessions: size.sessions,
        streams: size.streams,
        rate: size.rate,
    };
    let footprint = footprint::measure(&around, core, &sidecar, Store::Memory, load).await?;
    print(&page::footprints(&[footprint]));
    Ok(())
}

async fn compare(subjects: &[Subject]) -> Result<(), BenchError> {
    let (rounds, _) = rounds::run(subjects, &gate::plan()).await?;
    let summary = Summary::of(&rounds);
    print(&page::tables(&summary));
    gate::check(&summary)
}

fn write(path: &Path, text: &str) -> Result<(), BenchError> {
    std::fs::write(path, text).step(format_args!("write {}", path.display()))
}

fn print(text: &str) {
    // A closed output does not fail the run.
    let _ = std::io::stdout().write_all(text.as_bytes());
}

use std::time::{Duration, Instant};

use crate::Run;
use crate::rig::checker::Losses;
use crate::rig::engine::Engine;
use crate::rig::proxy::Fault;
use crate::world::{Plan, Proxied, World};

const HUBS: usize = 3;
const FAULTS: u32 = 8;

/// Whatever comes, one after the other: nothing confirmed is lost, nobody is deceived, and all is well in the end.
pub async fn anything_may_fail(run: &mut Run) {
    let plan = Plan { proxied: Proxied::Broker, ..Plan::new(HUBS, run.random.u64(..)) };
    let mut world = World::start(Engine::durable_redis().await, plan).await;
    for _ in 0..FAULTS {
        world.flow(Duration::from_millis(run.random.u64(50..500))).await;
        let what = fail(run, &mut world).await;
        let over = Instant::now();
        let (took, places) = world.published_after(over).await;
        run.measures.note(format!("{what}: publishing again after {took:?}"));
        run.measures.add(
            "every reader current again",
            world.current_after(over, &places).await,
            Duration::from_secs(8),
        );
    }
    let summary = world.finish(Losses::None).await;
    run.measures.note(format!("{summary:?}"));
}

/// One fault, until it is over.
async fn fail(run: &mut Run, world: &mut World) -> String {
    let hub = run.random.usize(..HUBS);
    let time = Duration::from_millis(run.random.u64(100..2_500));
    match run.random.u8(..5) {
        0 => {
            world.hubs[hub].kill().await;
            tokio::time::sleep(time).await;
            world.hubs[hub].start_again().await;
            format!("hub {hub} was killed")
        }
        1 => {
            world.hubs[hub].stop();
            tokio::time::sleep(time).await;
            world.hubs[hub].go_on();
            format!("hub {hub} stood still for {time:?}")
        }
        2 => {
            world.engine.servers[0].stop();
            tokio::time::sleep(time).await;
            world.engine.servers[0].go_on();
            format!("the broker stood still for {time:?}")
        }
        3 => {
            world.engine.servers[0].kill().await;
            tokio::time::sleep(time).await;
            world.engine.servers[0].start_again().await;
            format!("the broker was away for {time:?}")
        }
        _ => {
            let faults = [Fault::Stall, Fault::StallToServer, Fault::Reset, Fault::HalfClose, Fault::Drop(0.05)];
            let fault = *run.random.choice(&faults).expect("there are some");
            world.proxies[hub].set(fault);
            tokio::time::sleep(time).await;
            world.proxies[hub].set(Fault::None);
            format!("hub {hub} had {fault:?} for {time:?}")
        }
    }
}

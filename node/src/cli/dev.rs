//! dev
use super::failure::Failure;
/// dev
#[derive(clap::Args)]
pub(crate) struct Dev {}
impl Dev {
    pub(crate) async fn run(self) -> Result<u8, Failure> { Ok(0) }
}

//! `fairway validate`.

use crate::args::Validate;
use crate::findings;
use crate::input::Input;
use crate::output;

pub(crate) fn run(args: &Validate) -> anyhow::Result<bool> {
    let input = Input::read(&args.manifests)?;
    let found = findings::all(&input.loader, &input.translation.statuses);
    let objects = input.loader.objects().len();
    output::line(findings::render(&found, args.output, objects)?.trim_end());
    Ok(found.is_empty())
}

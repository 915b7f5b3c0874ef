//! The samples that a run measures and verifies on.

use onnxpress::data::Origin;
use onnxpress::recipe::{JUDGE, MEASURE, Step};
use onnxpress::{Bindings, DataError, DataSource, Dataset, Engine, Model, Recipe, Samples};

/// The data sets of a run.
pub struct Data {
    /// To measure with, and to verify on.
    pub calib: Option<Dataset>,
    /// To judge lossy steps by.
    pub eval: Option<Dataset>,
}

impl Data {
    /// Those of the command line, else of the recipe.
    pub fn open(args: &[String], recipe: &Recipe, model: &Model, dims: &Bindings) -> Result<Self, DataError> {
        let open = |source: DataSource| Dataset::open(&source, model, dims);
        let eval = recipe
            .data
            .get(JUDGE)
            .filter(|_| recipe.steps.iter().any(Step::is_lossy) || recipe.budget.needs_loss());
        Ok(Self {
            calib: source(args, recipe)?.map(open).transpose()?,
            eval: eval.cloned().map(open).transpose()?,
        })
    }

    /// The samples on an engine; none where no data set is given.
    pub fn samples<'e>(&self, engine: &'e dyn Engine, dims: Bindings) -> Option<Samples<'e>> {
        let samples = match (&self.calib, &self.eval) {
            (None, None) => return None,
            (Some(calib), _) => Samples::of(engine, dims, calib),
            (None, _) => Samples::new(engine, dims, Vec::new(), Vec::new()),
        };
        Some(self.eval.iter().fold(samples, Samples::judged_by))
    }
}

/// What to measure with. The command line names other files; how many are taken and how they are prepared stays as the
/// recipe says it.
fn source(args: &[String], recipe: &Recipe) -> Result<Option<DataSource>, DataError> {
    let said = recipe.data.get(MEASURE);
    if args.is_empty() {
        return Ok(said.cloned());
    }
    let mut source = DataSource::of_args(args)?;
    let Some(said) = said else { return Ok(Some(source)) };
    match (&mut source.origin, &said.origin) {
        (Origin::Images(here), Origin::Images(there)) => {
            let files = std::mem::take(&mut here.files);
            here.clone_from(there);
            here.files = files;
        }
        (Origin::Raw { inputs: here, .. }, Origin::Raw { inputs: there, .. }) => here.clone_from(there),
        _ => {}
    }
    Ok(Some(DataSource { origin: source.origin, ..said.clone() }))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_command_line_names_files_and_the_recipe_says_what_becomes_of_them() {
        let text = "data: { calib: { images: a.png, mean: [1, 2, 3], limit: 7, seed: 3, holdout: 0 } }";
        let recipe = Recipe::from_str(text, "r", Path::new("")).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        for name in ["b.png", "c.npy"] {
            std::fs::write(path(name), "").unwrap();
        }
        assert_eq!(source(&[], &recipe).unwrap().as_ref(), recipe.data.get(MEASURE));
        let found = source(&[path("b.png")], &recipe).unwrap().unwrap();
        let Origin::Images(images) = &found.origin else { panic!("{found:?}") };
        assert_eq!((&images.files, images.prepare.mean.len()), (&vec![path("b.png")], 3));
        assert_eq!((found.limit, found.seed), (Some(7), 3));
        let found = source(&[path("c.npy")], &recipe).unwrap().unwrap();
        assert_eq!((found.origin, found.limit), (Origin::Arrays(vec![path("c.npy")]), Some(7)));
        let plain = Recipe::from_str("steps:", "r", Path::new("")).unwrap();
        assert_eq!(source(&[], &plain).unwrap(), None);
    }
}

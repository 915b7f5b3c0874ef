//! Refused recipes: the exact words.

use super::*;

#[test]
fn unknown_names_come_with_the_nearest_one() {
    let table = [
        ("stepz: []", "1:1: a recipe has no key `stepz`; did you mean `steps`?"),
        ("steps: [fuse-conf-bn]", "1:9: unknown pass `fuse-conf-bn`; did you mean `fuse-conv-bn`?"),
        ("steps:\n  - fixpiont: [fuse-conv-bn]", "2:5: unknown pass `fixpiont`; did you mean `fixpoint`?"),
        ("steps: [fixpoint]", "1:9: unknown pass `fixpoint`; it needs a list of passes"),
        ("steps: [fuse-conv-bn: { onyl: [a] }]", "1:25: unknown option `onyl`; did you mean `only`?"),
        (
            "steps: [fuse-conv-bn: { bits: 8 }]",
            "1:25: unknown option `bits`; the options are id, only, ignore",
        ),
        ("steps: [{ fixpoint: [fuse-conv-bn], di: x }]", "1:37: a set has no key `di`; did you mean `id`?"),
        ("target: { opst: 17 }", "1:11: `target` has no key `opst`; did you mean `opset`?"),
        ("target: { profile: rknnn }", "1:20: unknown profile `rknnn`; did you mean `rknn`?"),
        ("verify: { run: 1 }", "1:11: `verify` has no key `run`; did you mean `runs`?"),
        ("data: { evil: { files: a } }", "1:9: unknown data set `evil`; did you mean `eval`?"),
        ("data: { eval: { file: a } }", "1:17: a data set has no key `file`; did you mean `files`?"),
        (
            "vars: { size: 1 }\ninputs: { x: { 0: '${sice}' } }",
            "2:19: unknown variable `sice`; did you mean `size`?",
        ),
        ("skip: [drop-it]", "1:8: no inherited step has the id `drop-it`; there are no inherited steps"),
    ];
    check(&table);
}

#[test]
fn wrong_values_say_what_is_expected() {
    let table = [
        ("steps: 3", "1:8: expected a list, found the number 3"),
        ("steps: [[]]", "1:9: expected a pass, or a pass with its options, found a list"),
        ("steps: [1]", "1:9: expected a pass, or a pass with its options, found the number 1"),
        ("steps: [{}]", "1:9: expected a pass, or a pass with its options, found a mapping"),
        ("steps: [fuse-conv-bn: 3]", "1:23: expected a mapping of options, found the number 3"),
        (
            "steps:\n  - fuse-conv-bn:\n    id: x",
            "3:5: a step is one pass: indent `id` if it is an option of `fuse-conv-bn`, else begin it with `- `",
        ),
        ("steps: [fixpoint: []]", "1:19: `fixpoint` needs at least one pass"),
        ("steps: [fixpoint: ]", "1:9: `fixpoint` needs a list of passes"),
        ("steps: [fixpoint: [fixpoint: [a]]]", "1:20: a fixpoint set holds passes, no other set"),
        (
            "steps: [fuse-conv-bn: { id: 'a b' }]",
            "1:29: `a b` is no id: use letters, digits, `-`, `_` and `.`",
        ),
        ("steps: [fuse-conv-bn: { only: a }]", "1:31: expected a list, found the text `a`"),
        ("steps: [fuse-conv-bn: { only: [] }]", "1:25: `only` needs at least one selector"),
        (
            "steps: [fuse-conv-bn: { only: [12] }]",
            "1:32: expected text, found the number 12; put it in quotes",
        ),
        ("steps: [fuse-conv-bn: { only: ['op:'] }]", "1:32: `op:` is no selector: there is nothing to match"),
        ("target: { opset: 17.0 }", "1:18: expected a whole number from 1 to 28, found the number 17.0"),
        ("target: { opset: 99 }", "1:18: expected a whole number from 1 to 28, found the number 99"),
        ("target: 17", "1:9: expected a mapping, found the number 17"),
        ("inputs: { x: { 0: 0 } }", "1:19: expected a whole number of at least 1, found the number 0"),
        ("data: { eval: {} }", "1:15: a data set needs one of `files`, `images`, `raw` and `random`"),
        ("data: { eval: { files: 'a[' } }", "1:24: `a[` is no glob: unclosed character class; missing ']'"),
        ("verify: { enabled: yes }", "1:20: expected true or false, found the text `yes`"),
        ("verify: { rtol: -1 }", "1:17: expected a number of at least 0, found the number -1"),
        ("verify: { runs: 0 }", "1:17: expected a whole number from 1 to 10000, found the number 0"),
        ("version: 2", "1:10: expected version 1, the only one there is, found the number 2"),
        ("- a", "1:1: expected a recipe: a mapping with keys such as `steps`, found a list"),
        ("extends: [a]", "1:10: expected text, found a list"),
    ];
    check(&table);
}

#[test]
fn wrong_metrics_and_budgets_say_what_is_expected() {
    let metric = |rest: &str| format!("metrics: {{ m: {{ command: 'e {{model}}'{rest} }} }}");
    let table = [
        ("metrics: { m: {} }", "1:15: a metric needs a `command`, with {model} for the file of the model"),
        ("metrics: { m: { comand: a } }", "1:17: a metric has no key `comand`; did you mean `command`?"),
        ("metrics: { m: { command: 3 } }", "1:26: expected text, found the number 3; put it in quotes"),
        ("metrics: { m: { command: \"a 'b {model}\" } }", "1:26: the command has no closing '"),
        (
            "metrics: { m: { command: python eval.py } }",
            "1:26: the command reads no model: one of its arguments has {model}, which stands for the file",
        ),
        (
            "metrics: { m: { command: ['{model}'] } }",
            "1:26: the command reads no model: one of its arguments has {model}, which stands for the file",
        ),
        (&metric(", parse: '(a'"), "1:46: `(a` is no regular expression: error: unclosed group"),
        (&metric(", parse: 'top1'"), "1:46: `top1` has no group: put the number in `(…)`"),
        (
            &metric(", parse: '(a)(b)'"),
            "1:46: `(a)(b)` has 2 groups and needs one: `(?:…)` groups without counting",
        ),
        (&metric(", larger-is-better: 1"), "1:57: expected true or false, found the number 1"),
        (&metric(", timeout: 0"), "1:48: expected a whole number from 1 to 604800, found the number 0"),
        ("budget: { sqrn: 30 }", "1:11: `budget` has no key `sqrn`; did you mean `sqnr`?"),
        ("budget: { sqnr: high }", "1:17: expected a number, found the text `high`"),
        ("budget: { agreement: 98 }", "1:22: expected a share from 0 to 1, found the number 98"),
        ("budget: { metric: { top1: 1 } }", "1:21: unknown metric `top1`; there are no metrics"),
        ("budget: { sqnr: 9, search: 1 }", "1:28: expected true or false, found the number 1"),
        (
            "budget: { search: true }",
            "1:19: `search` needs something to keep: `sqnr`, `agreement` or `metric` beside it",
        ),
        (
            "budget: { roll-back: true, sqnr: ~ }",
            "1:22: `roll-back` needs something to keep: `sqnr`, `agreement` or `metric` beside it",
        ),
        (&(metric("") + "\nbudget: { metric: { n: 1 } }"), "2:21: unknown metric `n`; did you mean `m`?"),
        (&(metric("") + "\nbudget: { metric: { m: x } }"), "2:24: expected a number, found the text `x`"),
    ];
    check(&table);
}

#[test]
fn variables_that_cannot_be_worked_out_are_refused() {
    let table = [
        ("inputs: { x: { 0: '${' } }", "1:19: `${` has no `}`; write `$${` for a plain `${`"),
        ("inputs: { x: { 0: '${a b}' } }", "1:19: `${a b}` is no variable; write `$${` for a plain `${`"),
        ("vars: { a: 1, b: '${a}' }", "1:18: a variable cannot use another; write `$${` for a plain `${`"),
        ("vars: { 'a b': 1 }", "1:9: `a b` is no name for a variable: use letters, digits, - and _"),
        ("vars: { a: { b: 1 } }", "1:14: a variable has no key `b`; the keys are env, default"),
        ("vars: { a: { default: 1 } }", "1:12: the mapping of a variable needs `env`"),
        (
            "vars: { a: { env: A } }",
            "1:9: `a` has no value: set the environment variable A or the variable itself, or give it a default",
        ),
        (
            "vars: { a: [x] }\ndata: { eval: { files: 'p/${a}' } }",
            "2:24: `${a}` is not one value: it stands alone",
        ),
        (
            "vars: { a: abc }\nverify: { runs: '${a}' }",
            "2:17: expected a whole number from 1 to 10000, found the text `abc`",
        ),
    ];
    check(&table);
    let set =
        |name: &str| Loader::new().set(name, "1").from_str("vars: { size: 1 }", "r.yaml", Path::new(""));
    assert_eq!(said(set("sise")), "the recipe has no variable `sise`; did you mean `size`?");
}

#[test]
fn ids_that_a_recipe_gives_are_unique() {
    let text = "steps:\n  - fuse-conv-bn: { id: a }\n  - fixpoint: [fuse-conv-bn: { id: a }]";
    assert_eq!(refused(text), "r.yaml:3:36: another step has the id `a` too");
    let text = "steps:\n  - fuse-conv-bn\n  - { fixpoint: [fuse-conv-bn], id: fuse-conv-bn }";
    assert_eq!(refused(text), "r.yaml:3:37: another step has the id `fuse-conv-bn` too");
}

#[test]
fn an_error_shows_its_line() {
    let error = Recipe::from_str("version: 1\nstepz: []\n", "r.yaml", Path::new("")).unwrap_err();
    assert_eq!(error.details().unwrap(), "  |\n2 | stepz: []\n  | ^");
    let place = error.place().unwrap();
    assert_eq!((place.line(), place.column()), (2, 1));
}

#[test]
fn long_and_odd_texts_stay_on_one_short_line() {
    let message = refused(&format!("steps: [\"{}\\n\\e[31m\"]", "x".repeat(5000)));
    assert!(message.len() < 500 && !message.contains('\u{1b}'), "{message}");
    let message = refused("\"a\\nb\": 1");
    assert!(message.contains("`a b`"), "{message}");
}

#[test]
fn files_that_are_no_recipes_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        said(Recipe::from_file(&path)).replace(path.to_str().unwrap(), "FILE")
    };
    assert_eq!(write("a.yaml", b"steps: [\xff]"), "FILE: the recipe is not UTF-8 text, from byte 8 on");
    assert_eq!(write("b.yaml", b""), "FILE: the recipe is empty");
    assert_eq!(
        write("c.yaml", b"just text"),
        "FILE:1:1: expected a recipe: a mapping with keys such as `steps`, found the text `just text`"
    );
    let big = vec![b' '; (1 << 20) + 1];
    assert_eq!(write("d.yaml", &big), "FILE: a recipe has at most 1048576 bytes, this has more");
    assert!(said(Recipe::from_file(dir.path())).contains("the recipe cannot be read: "));
    if Path::new("/dev/zero").exists() {
        assert!(said(Recipe::from_file("/dev/zero")).contains("this has more"));
    }
}

fn check(table: &[(&str, &str)]) {
    for (text, wanted) in table {
        assert_eq!(refused(text), format!("r.yaml:{wanted}"), "{text}");
    }
}

proptest::proptest! {
    #[test]
    fn no_text_brings_the_reader_down(noise in "[ -~\n]{0,80}", cut in 0..FULL.len(), wild in ".{0,40}") {
        for text in [noise.clone(), wild, format!("{}{noise}{}", &FULL[..cut], &FULL[cut..])] {
            if let Err(error) = Recipe::from_str(&text, "r.yaml", Path::new("")) {
                proptest::prop_assert!(!error.to_string().contains('\n'));
                let _ = error.details();
            }
        }
    }
}

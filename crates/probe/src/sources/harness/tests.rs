use super::*;
use crate::tasks::kind::TaskKind;
use crate::tasks::task::Task;

const TASK: &str = "task: t\ndataset_path: org/set\noutput_type: multiple_choice\ntest_split: \
    test\ndoc_to_text: \"Q: {{q}}\\nA:\"\n\
                    doc_to_choice: \"{{options}}\"\ndoc_to_target: \"{{options.index(a)}}\"\nmetadata:\n  \
                        version: 1.0\n";
const DATA: &str = "{\"q\":\"one?\",\"options\":[\"x\",\"y\"],\"a\":\"y\"}\n{\"q\":\"two?\",\"options\":\
    [\"it's\",\"z\"],\"a\":\"it's\"}\n{\"q\":\"three?\",\"options\":[\"p\",\"q\"],\"a\":\"p\"}\n";

/// The tasks of `tasks/FIRST`, in a directory with these files and with [`DATA`] as the split `test` of
/// `org/set`. Errors as text.
fn read(files: &[(&str, &str)]) -> Result<Vec<Task>, String> {
    let dir = tempfile::tempdir().unwrap();
    let data = ("data/org__set/default/test.jsonl", DATA);
    for (name, text) in [&data].into_iter().chain(files) {
        let path = dir.path().join(if name.starts_with("data/") {
            (*name).to_owned()
        } else {
            format!("tasks/{name}")
        });
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, text).unwrap();
    }
    read_suite(&dir.path().join("tasks").join(files[0].0), &[dir.path().join("data")])
        .map(|content| content.tasks)
        .map_err(|error| error.to_string().replace(dir.path().to_str().unwrap(), "DIR"))
}

fn one(text: &str) -> Task {
    read(&[("t.yaml", text)]).unwrap().remove(0)
}

#[track_caller]
fn assert_refused(files: &[(&str, &str)], expected: &str) {
    let error = read(files).unwrap_err();
    assert!(error.contains(expected), "{error}");
}

#[test]
fn records_become_items() {
    let task = one(TASK);
    assert_eq!((task.name.as_str(), task.kind, task.chance), ("t", TaskKind::MultipleChoice, Some(0.5)));
    assert_eq!(task.version.as_deref(), Some("1.0"));
    let item = &task.items[1];
    assert_eq!((item.context.as_str(), item.gold), ("Q: two?\nA:", 0));
    assert_eq!(item.choices, ["it's", "z"]);
    assert_eq!((task.items[0].gold, task.target_delimiter.as_str()), (1, " "));
}

#[test]
fn examples_stand_before_the_question() {
    let with = |config: &str| {
        one(&format!("{TASK}description: \"About {{{{q}}}}\\n\"\nnum_fewshot: 1\n{config}"))
            .items
            .remove(1)
            .context
    };
    assert_eq!(with("fewshot_config: {sampler: first_n}"), "About two?\nQ: one?\nA: y\n\nQ: two?\nA:");
    assert_eq!(
        with("fewshot_split: test\nfewshot_config: {sampler: first_n}"),
        "About two?\nQ: one?\nA: y\n\nQ: two?\nA:"
    );
    let samples = "fewshot_config:\n  samples:\n  - {q: zero, options: [a, b], a: a}\n  \
        doc_to_text: \"{{q}}\"\n  target_delimiter: '='\n  fewshot_delimiter: ';'\n  sampler: first_n";
    assert_eq!(with(samples), "About two?\nzero=a;Q: two?\nA:");
    assert_eq!(
        with("gen_prefix: \"The answer is\"\nfewshot_config: {sampler: first_n}"),
        "About two?\nQ: one?\nA: The answer is y\n\nQ: two?\nA: The answer is"
    );
    assert_refused(
        &[("t.yaml", &format!("{TASK}fewshot_split: test\nnum_fewshot: 3"))],
        "test.jsonl line 1 (item 0): expected 3 examples in addition to the question, found 2",
    );
}

#[test]
fn several_choices_may_be_right() {
    let task = one(&TASK.replace("\"{{options.index(a)}}\"", "[1, 0]"));
    assert_eq!((task.items[0].gold, &task.items[0].other_gold[..], task.chance), (1, &[0][..], Some(1.0)));
}

#[test]
fn contexts_may_be_the_choices() {
    let text = TASK
        .replace("\"Q: {{q}}\\nA:\"", "\"{{options.index(a)}}\"")
        .replace("doc_to_target: \"{{options.index(a)}}\"", "doc_to_target: q\ndescription: \"D \"");
    let item = one(&text).items.remove(0);
    assert_eq!((item.gold, item.pair(0)), (1, ("D x".into(), "one?")));
}

#[test]
fn targets_of_log_likelihoods_are_scored_as_they_are() {
    let text = TASK
        .replace("multiple_choice", "loglikelihood")
        .replace("doc_to_choice: \"{{options}}\"\n", "")
        .replace("\"{{options.index(a)}}\"", "\"{{' ' + a}}\"");
    let task = one(&text);
    assert_eq!(
        (task.kind, task.target_delimiter.as_str(), &task.items[0].choices[..]),
        (TaskKind::GreedyMatch, "", &[" y".to_owned()][..])
    );
    let rolling = one(&text.replace("loglikelihood", "loglikelihood_rolling"));
    assert_eq!(
        (rolling.kind, rolling.items[0].context.as_str(), &rolling.items[0].choices[..]),
        (TaskKind::Perplexity, "", &[" y".to_owned()][..])
    );
}

#[test]
fn written_answers_have_their_rules() {
    let text = "task: t\ndataset_path: org/set\ntest_split: test\ndoc_to_text: \
        q\ndoc_to_target: \"{{options}}\"\nrepeats: 2\n\
                generation_kwargs: {until: [\"\\n\"], max_gen_toks: 7, do_sample: true, temperature: 0.5}\n\
                filter_list:\n- name: strict\n  filter:\n  - {function: regex, regex_pattern: '#(.)', \
                    group_select: -1}\n  - function: take_first\n\
                metric_list:\n- {metric: exact_match, aggregation: mean, higher_is_better: true, \
                    ignore_case: true, regexes_to_ignore: [',']}\n";
    let task = one(text);
    let rules = task.generation.unwrap();
    assert_eq!(
        (task.kind, rules.max_new_tokens, rules.attempts, &rules.until[..]),
        (TaskKind::Generation, 7, 2, &["\n".to_owned()][..])
    );
    assert_eq!((rules.filters[0].name.as_str(), rules.filters[0].steps.len()), ("strict", 2));
    assert_eq!(task.items[1].answers, ["it's", "z"]);
    let crate::tasks::generation_rules::AnswerEquality::ExactMatch(rule) = rules.equality else {
        panic!("{:?}", rules.equality)
    };
    assert!(rule.ignore_case && rule.regexes_to_ignore.len() == 1);
    let refused = |from: &str, to: &str, expected: &str| {
        assert_refused(&[("t.yaml", &text.replace(from, to))], expected);
    };
    refused(
        "max_gen_toks",
        "max_gen_tokens",
        "t.yaml line 7: `generation_kwargs`: unknown field `max_gen_tokens`",
    );
    refused("'#(.)'", "'('", "`filter_list`: `(` is not a valid regular expression");
    refused("function: take_first", "function: take_firsts", "`filter_list`: unknown variant `take_firsts`");
    refused(
        "function: take_first",
        "function: !function utils.F",
        "`filter_list.function`: the Python function `utils.F` of `tasks` is not built in",
    );
    refused("metric: exact_match", "metric: bleu", "`metric_list`: no supported metric");
}

#[test]
fn files_include_others() {
    let files = [
        ("a/t.yaml", "include: ../base.yaml\ntask: t2\n"),
        ("base.yaml", &format!("include: [deeper/other]\n{TASK}")),
        ("deeper/other", "doc_to_text: x\nnum_fewshot: 0\n"),
    ];
    let task = read(&files).unwrap().remove(0);
    assert_eq!((task.name.as_str(), task.items[0].context.as_str()), ("t2", "Q: one?\nA:"));
    assert_refused(
        &[("a.yaml", "task: t\ninclude: b.yaml"), ("b.yaml", "x: 1\ninclude: a.yaml")],
        "DIR/tasks/b.yaml line 2: `include`: DIR/tasks/a.yaml includes itself",
    );
    assert_refused(
        &[("a.yaml", "include: b.yaml")],
        "a.yaml line 1: `include`: no such file: DIR/tasks/b.yaml",
    );
}

#[test]
fn groups_name_tasks_groups_and_tags() {
    let group =
        "group: g\ntask:\n- inner\n- tagged\n- task: t\n  num_fewshot: 1\n- {task: new, include_me: 1}\n";
    let inner = "group: inner\ntask: [t3]\nfewshot_config: {sampler: first_n}\n";
    let named = |name: &str, more: &str| TASK.replace("task: t\n", &format!("task: {name}\n{more}"));
    let files = [
        ("x/g.yaml", &group.replace("- {task: new, include_me: 1}\n", "")[..]),
        ("y/inner.yaml", inner),
        ("t.yaml", TASK),
        ("z/t3.yaml", &named("t3", "")),
        ("z/t4.yaml", &named("t4", "tag: tagged\n")),
        ("z/t5.yaml", &named("t5", "tag: [other, tagged]\n")),
    ];
    let tasks = read(&files).unwrap();
    let names: Vec<(&str, usize)> = tasks.iter().map(|task| (task.name.as_str(), task.shots)).collect();
    assert_eq!(names, [("t3", 0), ("t4", 0), ("t5", 0), ("t", 1)]);
    assert_eq!(tasks[1].domain, "tagged");
    assert_refused(
        &[("g.yaml", "group: g\ntask: [tt]"), ("t.yaml", TASK)],
        "g.yaml line 2: no task, group or tag `tt` (did you mean `t`?) in the .yaml files of DIR/tasks",
    );
    assert_refused(
        &[("g.yaml", "group: g\ntask: [h]"), ("h.yaml", "group: h\ntask: [g, h]")],
        "is part of itself",
    );
    assert_refused(&[("g.yaml", "group: g\ntask: t")], "g.yaml line 2: `task`: expected a list of tasks");
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    let refused = |from: &str, to: &str, expected: &str| {
        assert_refused(&[("t.yaml", &TASK.replace(from, to))], expected);
    };
    refused(
        "doc_to_choice",
        "doc_to_choices",
        "DIR/tasks/t.yaml line 6: unknown key `doc_to_choices` (did you mean `doc_to_choice`?)",
    );
    refused(
        "\"{{options}}\"",
        "!function utils.options",
        "line 6: `doc_to_choice`: the Python function `utils.options` of `tasks` is not built in",
    );
    refused(
        "test_split: test",
        "test_split: tests",
        "line 4: split `tests` of `org/set` not found: tried DIR/data/org__set/default/tests.jsonl",
    );
    refused("test_split: test\n", "", "line 1: `test_split`: missing, and so is `validation_split`");
    refused("{{q}}", "{{q", "line 5: `doc_to_text`: ");
    refused(
        "{{q}}",
        "{{question}}",
        "test.jsonl line 1 (item 0): `doc_to_text`: there is no field `question`",
    );
    refused(
        "{{options}}",
        "{{q}}",
        "test.jsonl line 1 (item 0): `doc_to_choice`: \"one?\" is not a list in Python syntax",
    );
    refused(
        "\"{{options.index(a)}}\"",
        "q",
        "(item 0): the right choice is 'one?', but the choices are ['x', 'y']",
    );
    refused(
        "multiple_choice",
        "multiple_choices",
        "line 3: `output_type`: unknown type `multiple_choices` (did you mean `multiple_choice`?)",
    );
    refused("task: t\n", "task: t\nclass: !function task.T\n", "line 2: `class`: not supported");
    refused("task: t\n", "task: t\nnum_fewshot: many\n", "line 2: `num_fewshot`: expected a number");
    refused(
        "task: t\n",
        "task: t\nfewshot_config: {sampler: balanced}\n",
        "line 2: `fewshot_config.sampler`: unknown sampler `balanced`",
    );
    refused(
        "task: t\n",
        "task: t\nfewshot_config: {smapler: first_n}\n",
        "line 2: unknown key `fewshot_config.smapler` (did you mean `sampler`?)",
    );
    refused("task: t\n", "task: [t\n", "t.yaml line ");
    refused(
        "task: t\n",
        "task: t\nprocess_docs: utils.f\n",
        "line 2: `process_docs`: expected `!function module.name`",
    );
}

#[test]
fn a_data_set_with_one_configuration_need_not_name_it() {
    let text = TASK.replace("org/set", "org/other");
    let task = read(&[("t.yaml", &text), ("data/org__other/main/test.jsonl", DATA)]).unwrap().remove(0);
    assert_eq!(task.items.len(), 3);
    let task = read(&[("t.yaml", &text), ("data/hf/other.test.jsonl", DATA)]).unwrap().remove(0);
    assert_eq!(task.items.len(), 3);
    let named = text.replace("test_split", "dataset_name: extra\ntest_split");
    assert_refused(
        &[("t.yaml", &named), ("data/org__other/main/test.jsonl", DATA)],
        "DIR/data/other__extra.test.jsonl",
    );
}

#[test]
fn files_may_be_named() {
    let text = TASK.replace(
        "dataset_path: org/set\n",
        "dataset_path: json\ndataset_kwargs:\n  \
        data_files:\n    test: [own.jsonl, org__set/default/test.jsonl]\n",
    );
    let own = "{\"q\":\"own?\",\"options\":[\"x\",\"y\"],\"a\":\"y\"}";
    let items = read(&[("t.yaml", &text), ("own.jsonl", own)]).unwrap().remove(0).items;
    assert_eq!((items.len(), items[0].context.as_str()), (4, "Q: own?\nA:"));
    assert_refused(
        &[("t.yaml", &text)],
        "line 5: `dataset_kwargs.data_files`: no such file or directory: tried DIR/tasks/own.jsonl, \
         DIR/data/own.jsonl",
    );
    assert_refused(
        &[("t.yaml", &text.replace("    test:", "    tset:"))],
        "no split `test` in `dataset_kwargs.data_files`: expected one of tset",
    );
    assert_refused(&[("t.yaml", &TASK.replace("org/set", "json"))], "`dataset_kwargs.data_files`: missing");
    assert_refused(
        &[("t.yaml", &text), ("own.jsonl", ""), ("data/org__set/default/test.jsonl", "")],
        "split `test` of `json` has no records",
    );
}

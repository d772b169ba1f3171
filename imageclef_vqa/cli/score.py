"""`medvqa score`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imageclef_vqa.cli.console import echo, note, print_json, print_table
from imageclef_vqa.cli.options import AnswersOption, DeviceOption, JsonOption, RunOption, SeedOption, WorkspaceOption
from imageclef_vqa.errors import UsageError
from imageclef_vqa.workspace import Workspace

if TYPE_CHECKING:
    from imageclef_vqa.evaluation import Comparisons, Published, ReportFold, Score
    from imageclef_vqa.evaluation.export import Result
    from imageclef_vqa.evaluation.text.compare import TextComparisons
    from imageclef_vqa.evaluation.text.folds import TextFold
    from imageclef_vqa.evaluation.text.scores import TextScore


FilesArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[FILE]...",
        help="Predictions (.jsonl), a run file of any origin (.csv, .json, .zip), or published figures "
        "(id,accuracy; table3 or table5 of the paper). Without FILE: the run of the workspace.",
        show_default=False,
    ),
]
GoldOption = Annotated[
    Path | None, typer.Option(help="A gt.json or qa.jsonl to score FILE against, instead of the workspace's own.")
]
CompareOption = Annotated[
    bool,
    typer.Option(
        "--compare",
        help="Compare each FILE (or run of that name) with the first one, in paired differences. "
        "Without FILE: the run before and after routing.",
    ),
]
PerturbOption = Annotated[
    bool,
    typer.Option(
        "--perturb",
        help="Answer again with cropped, turned, shifted, brighter and duller pictures, and print what that costs.",
    ),
]
ReportOption = Annotated[
    Path | None,
    typer.Option(help="File for the HTML report.", show_default="work/<run>/report.html; none for FILE"),
]
HeatMapsOption = Annotated[
    bool, typer.Option("--heat-maps", help="Show in the report what carried each wrong answer; loads the model.")
]
AsMarkdownOption = Annotated[
    bool, typer.Option("--markdown", help="Print the result as Markdown tables and nothing else.")
]


def score(
    files: FilesArgument = None,
    gold: GoldOption = None,
    compare: CompareOption = False,
    perturb: PerturbOption = False,
    report: ReportOption = None,
    plots: Annotated[Path | None, typer.Option(help="Folder for plots, as PNG and SVG.")] = None,
    heat_maps: HeatMapsOption = False,
    answers: AnswersOption = None,
    workspace: WorkspaceOption = Path("."),
    run: RunOption = "main",
    device: DeviceOption = "auto",
    seed: SeedOption = 0,
    as_json: JsonOption = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print the result as CSV and nothing else.")] = False,
    as_markdown: AsMarkdownOption = False,
) -> None:
    """Compare answers with the gold answers, question by question, and write the report."""
    import imageclef_vqa as vqa
    from imageclef_vqa.editions import find_edition
    from imageclef_vqa.pipeline.compare import compare as compare_sources
    from imageclef_vqa.pipeline.report import write_plots

    given = files or []
    formats = [name for name, asked in (("json", as_json), ("csv", as_csv), ("markdown", as_markdown)) if asked]
    _check(given, compare, report, heat_maps, formats)
    if perturb and (given or compare or gold or report or plots):
        raise UsageError("--perturb answers again with a run of the workspace: it goes with --run and --answers")
    at = Workspace.at(workspace, run)
    if perturb:
        _perturb(at, answers, device, seed, formats)
        return
    if compare:
        compared = compare_sources(given, gold=gold, workspace=workspace, run=run)
        if plots is not None:
            write_plots(plots, at, compared=compared)
        _print(compared, formats, flat=gold is not None or any(Path(each).is_file() for each in given))
        return
    file = given[0] if given else None
    done = vqa.score(
        file,
        answers=answers,
        gold=gold,
        workspace=workspace,
        run=run,
        report=report,
        plots=plots,
        heat_maps=heat_maps,
        device=device,
    )
    results = {file: next(iter(done.results.values()))} if file is not None else done.results
    if not formats:
        for selection in done.selected:
            echo(selection.line)
            if stale := selection.warning:
                echo(f"warning: {stale}", fg="yellow")
    _print(results, formats, flat=file is not None)
    if file is None and not formats:
        _print_last_fold(done.folds[-1])
        following = at.typed(f"medvqa package --out {find_edition(at.edition).run_file}")
        echo(f"{at.shown(report or at.report)} shows this with every mistake; next: `{following}`")


def _print_last_fold(fold: ReportFold | TextFold) -> None:
    """The score in one line: of the test images, where they have gold answers."""
    from imageclef_vqa.evaluation import overall_line
    from imageclef_vqa.evaluation.folds import HEADINGS
    from imageclef_vqa.evaluation.text.display import text_line
    from imageclef_vqa.evaluation.text.scores import TextScore

    title, result = HEADINGS[fold.name], fold.score
    echo(text_line(title, result) if isinstance(result, TextScore) else overall_line(title, result))


def _perturb(workspace: Workspace, answers: str | None, device: str, seed: int, formats: list[str]) -> None:
    from imageclef_vqa.evaluation.folds import HEADINGS
    from imageclef_vqa.evaluation.perturbation import perturbation_line, perturbation_table
    from imageclef_vqa.pipeline.perturb import perturb

    done = perturb(workspace.root, answers=answers, device=device, run=workspace.run, seed=seed, notify=note)
    if formats == ["json"]:
        print_json({"fold": done.fold, "seed": done.seed, **done.compared.model_dump(mode="json", by_alias=True)})
    elif formats:
        _print({done.fold: done.compared}, formats, flat=True)
    else:
        echo(done.selected.line)
        print_table(perturbation_table(f"{HEADINGS[done.fold]}, perturbed", done.compared))
        echo(perturbation_line(done.compared))


def _check(files: list[str], compare: bool, report: Path | None, heat_maps: bool, formats: list[str]) -> None:
    if len(formats) > 1:
        raise UsageError(f"--{' and --'.join(formats)}: one format at a time")
    if len(files) > 1 and not compare:
        raise UsageError(f"{len(files)} files: --compare sets them side by side")
    if compare and report is not None:
        raise UsageError("--report is for one set of answers; --compare prints, and --plots draws")
    if compare and heat_maps:
        raise UsageError("--heat-maps is for the report of a run; --compare writes none")


def _print(results: Mapping[str, Result], formats: list[str], *, flat: bool) -> None:
    """`results` by fold or file in the format asked for, or for people; `flat` JSON is one result without its name."""

    if formats == ["json"]:
        content = {name: result.model_dump(mode="json", by_alias=True) for name, result in results.items()}
        if flat and len(content) == 1:
            print_json(next(iter(content.values())))
        else:  # the last fold is the one that counts: test images, where there are any
            name, last = list(content.items())[-1]
            counts = {key: last[key] for key in ("global", "questions") if key in last}
            print_json({"fold": name, **counts, "folds": content} if counts else {"folds": content})
    elif formats:
        from imageclef_vqa.evaluation import as_csv, as_markdown

        named = {"": next(iter(results.values()))} if flat and len(results) == 1 else results
        echo((as_csv if formats == ["csv"] else as_markdown)(named), nl=False, verbatim=True)
    else:
        from imageclef_vqa.evaluation import Comparisons
        from imageclef_vqa.evaluation.folds import HEADINGS
        from imageclef_vqa.evaluation.text.compare import TextComparisons

        for name, result in results.items():
            title = HEADINGS.get(name, name)
            if isinstance(result, Comparisons):
                _show_comparisons(title, result)
            elif isinstance(result, TextComparisons):
                _show_text_comparisons(title, result)
            else:
                _show(title, result)


def _show(title: str, result: Score | TextScore | Published) -> None:
    from imageclef_vqa.evaluation import Published, coverage_lines, formatting_line, slices_line
    from imageclef_vqa.evaluation.tables import formatting_table, metrics_table, published_table, score_table
    from imageclef_vqa.evaluation.text.scores import TextScore

    if isinstance(result, TextScore):
        _show_sentences(title, result)
        return
    if isinstance(result, Published):
        print_table(published_table(title, result))
        return
    for line in (formatting_line(result), *coverage_lines(result)):
        echo(line)
    print_table(score_table(title, result))
    if result.formatting:
        print_table(formatting_table(result))
    print_table(metrics_table(result))
    if line := slices_line(result):
        echo(line)


def _show_sentences(title: str, score: TextScore) -> None:
    from imageclef_vqa.evaluation.text.display import fact_table, group_table, text_lines, text_table

    for line in text_lines(score):
        echo(line)
    print_table(text_table(title, score))
    for heading, groups in (("By question class", score.classes), ("By complexity", score.complexities)):
        if groups:
            print_table(group_table(heading, groups))
    print_table(fact_table(score))


def _show_text_comparisons(title: str, result: TextComparisons) -> None:
    from imageclef_vqa.evaluation.text.display import comparison_lines, comparison_table

    for comparison in result.comparisons:
        echo(f"A: {result.baseline}\nB: {comparison.name}")
        for line in comparison_lines(result, comparison):
            echo(line)
        print_table(comparison_table(title, result, comparison))


def _show_comparisons(title: str, result: Comparisons) -> None:
    from imageclef_vqa.evaluation import comparison_lines
    from imageclef_vqa.evaluation.tables import comparison_table

    for comparison in result.comparisons:
        echo(f"A: {result.baseline}\nB: {comparison.name}")
        for line in comparison_lines(result, comparison):
            echo(line)
        print_table(comparison_table(title, result, comparison))

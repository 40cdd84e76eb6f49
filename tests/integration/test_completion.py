"""The completions of cosignerctl at work in their shells: the users a node lists, and options after the command."""
import pathlib
import shutil
import subprocess

import pytest

COMPLETION = pathlib.Path(__file__).parents[2] / "packaging" / "completion"
USERS = ["alice", "bob@example.org", "carol_1"]

# _init_completion is what bash-completion brings: it splits the line, which here comes in words.
BASH = """
_init_completion() { words=("${COMP_WORDS[@]}") cword=$COMP_CWORD cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}; }
. %s/cosignerctl.bash
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_cosignerctl
printf '%%s\\n' "${COMPREPLY[@]}"
"""
# In zsh the functions that draw are replaced by ones that print what they are given.
ZSH = """
service=none
compadd() { shift; print -l -- ${(P)1}; }
_arguments() { print -l -- "$@"; }
. %s/_cosigner
"$@"
"""


@pytest.fixture
def ask(tmp_path):
    """Runs a shell that finds a cosignerctl which lists three users, in one line as the real one does."""
    entries = ",".join('{"user":"%s","state":"ready","last_death":""}' % user for user in USERS)
    program = tmp_path / "cosignerctl"
    program.write_text(f"#!/bin/sh\n[ \"$1 $2\" = 'users --json' ] && echo '{{\"users\":[{entries}]}}'\n")
    program.chmod(0o755)

    def run(shell, *words):
        if not shutil.which(shell):
            pytest.skip(f"{shell} is not installed")
        path = f"{tmp_path}:/usr/local/bin:/usr/bin:/bin"
        made = subprocess.run([shell, *words], env={"PATH": path, "HOME": str(tmp_path)}, capture_output=True, text=True, timeout=30)
        assert made.returncode == 0 and not made.stderr, made.stderr
        return made.stdout.splitlines()
    return run


@pytest.mark.parametrize("words", [["user", ""], ["evict", "--user", ""], ["sign", "--user", ""]])
def test_bash_offers_every_user(ask, words):
    assert ask("bash", "-c", BASH % COMPLETION, "bash", "cosignerctl", *words) == USERS


def test_bash_offers_every_option_after_the_command(ask):
    offered = ask("bash", "-c", BASH % COMPLETION, "bash", "cosignerctl", "sign", "--")
    assert {"--user", "--out", "--socket", "--initiator", "--json"} <= set(offered)


@pytest.mark.parametrize("line", ["cosignerctl user ", "cosignerctl evict --user ", "cosignerctl sign --user "])
def test_fish_offers_every_user(ask, line):
    offered = ask("fish", "--no-config", "-c", f"source {COMPLETION}/cosignerctl.fish; complete -C '{line}'")
    assert sorted(word.split("\t")[0] for word in offered) == USERS


def test_fish_offers_every_option_after_the_command(ask):
    offered = ask("fish", "--no-config", "-c", f"source {COMPLETION}/cosignerctl.fish; complete -C 'cosignerctl sign --'")
    assert {"--user", "--out", "--socket", "--initiator", "--json"} <= {word.split("\t")[0] for word in offered}


def test_zsh_offers_every_user(ask):
    assert ask("zsh", "-f", "-c", ZSH % COMPLETION, "zsh", "_cosigner_users") == USERS


@pytest.mark.parametrize("command", ["sign", "keygen", "status", "users", "bench", "peers", "unban"])
def test_zsh_offers_the_common_options_after_every_command(ask, command):
    offered = {word.split("[")[0] for word in ask("zsh", "-f", "-c", ZSH % COMPLETION, "zsh", "_cosignerctl_command", command)}
    assert {"--socket", "--initiator", "--json", "--help"} <= offered

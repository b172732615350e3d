// Light or dark: as the system is, unless this browser's user has chosen.

const STORED = 'mlxd.appearance';

export const APPEARANCES = ['system', 'light', 'dark'] as const;
export type Choice = (typeof APPEARANCES)[number];

class Appearance {
  choice = $state<Choice>(APPEARANCES.find((known) => known === localStorage.getItem(STORED)) ?? 'system');

  constructor() {
    this.#show();
  }

  use(choice: Choice): void {
    this.choice = choice;
    localStorage.setItem(STORED, choice);
    this.#show();
  }

  #show(): void {
    document.documentElement.dataset.appearance = this.choice;
  }
}

export const appearance = new Appearance();

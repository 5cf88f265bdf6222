// The card of one job: a view of the model of all jobs, which panel.js draws.

const PANELS = Symbol.for("ipykill.panels");

export default {
  async render({ model, el }) {
    const id = model.get("model");
    // In a front end that makes models only when they are shown, this makes the model.
    await model.widget_manager.get_model(id).catch(() => undefined);
    const panels = (globalThis[PANELS] ??= new Map());
    if (!panels.has(id)) panels.set(id, Promise.withResolvers());
    const { drawCard } = await panels.get(id).promise;
    return drawCard(el, model.get("job"));
  },
};
